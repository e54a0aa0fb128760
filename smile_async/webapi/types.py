"""The official SDK's dictionaries, for type checkers."""

from typing import NotRequired, TypedDict

__all__ = ["Base64Image", "FileImage", "ImageParams", "OptionsParams", "SignatureParams"]


class OptionsParams(TypedDict):
    """What `submit_job` and `get_job_status` are asked for; the last two are not the SDK's."""

    return_job_status: bool
    return_history: bool
    return_images: bool
    use_enrolled_image: bool
    allow_new_enroll: NotRequired[bool]
    optional_callback: NotRequired[str]


class SignatureParams(TypedDict):
    """A timestamp, and the signature made for it."""

    timestamp: str
    signature: str


class Base64Image(TypedDict):
    """A picture as base64."""

    image_type_id: int
    image: str


class FileImage(TypedDict):
    """A picture by its path."""

    image_type_id: int
    file_name: str


ImageParams = Base64Image | FileImage
