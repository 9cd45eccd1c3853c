"""The interactive page of an explanation: one self-contained file that works from a mail attachment.

`content` takes an explanation apart into plain values, `document` writes them down as HTML that is readable without
JavaScript, and `page.js` makes it move; `page.css` is how it looks, in light and in the dark.
"""

from .content import Content, content_of
from .document import framed, html_of

__all__ = ["Content", "content_of", "framed", "html_of"]
