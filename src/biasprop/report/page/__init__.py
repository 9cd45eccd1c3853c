"""The interactive page of an explanation: one self-contained file that works from a mail attachment.

`content` takes an explanation apart into plain values, `document` writes them down as HTML that is readable without
JavaScript, and `page.js` makes it move; `page.css` is how it looks, in light and in the dark. `overall` is the page of
a whole data set, in which pages of examples open.
"""

from .content import Content, Shown, content_of
from .document import framed, html_of
from .overall import Card, Overall, html_of_overall
from .pictures import thumbnail, uri_of

__all__ = [
    "Card",
    "Content",
    "Overall",
    "Shown",
    "content_of",
    "framed",
    "html_of",
    "html_of_overall",
    "thumbnail",
    "uri_of",
]
