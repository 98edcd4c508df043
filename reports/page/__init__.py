"""The report as one offline HTML page, as Markdown and as text: templates over one set of facts."""

from reports.page.render import Context, answer, html, markdown

__all__ = ["Context", "answer", "html", "markdown"]
