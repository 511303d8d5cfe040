"""The forms in which the address of an image can be copied. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watcher.shown.links import html, markdown, picture, urls

if TYPE_CHECKING:
    from watcher.shown.images import ShownImage


def copy_forms(image: ShownImage) -> list[tuple[str, str]]:
    """(name, text) of each form that `links` has for people, the plain address first; the renditions are in the last."""
    if image.links is None:
        return []
    forms = [("URL", urls(image.links)[0]), ("Markdown", markdown(image.links)[0]), ("HTML", html(image.links)[0])]
    if len(image.links.outputs) > 1:
        forms.append(("Picture with renditions", "\n".join(picture(image.links))))
    return forms
