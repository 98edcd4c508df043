"""The report as one offline HTML page, as Markdown and as text: templates over one set of facts."""

from reports.page.render import answer, html, markdown

__all__ = ["answer", "html", "markdown"]
