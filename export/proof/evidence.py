"""The name under which the modules of NIR files import `CheckImages`."""

from export.proof.images import CheckImages

Evidence = CheckImages
