"""Primitives of braintrace (`etp_mm`, `etp_conv`, ...) mark a layer for its compiler. They compute
what they are implemented by, which is plain jax."""

from __future__ import annotations

from core.lowering.site import Rewritten, Site, rule

KINDS = "mm mv conv einsum elemwise emb emb_v gmm gmv lora_mm lora_mv sp_mm sp_mv"


@rule(*(f"etp_{kind}" for kind in KINDS.split()), always=True)
def inlined(site: Site) -> Rewritten | None:
    primitive, params = site.eqn.primitive, site.eqn.params
    return lambda *operands: [primitive.impl(*operands, **params)]
