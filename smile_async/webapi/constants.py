"""The numbers that the official SDK's dictionaries speak in (wire.md §3, §5.3)."""

from enum import IntEnum

__all__ = ["ImageTypes", "JobType"]


class JobType(IntEnum):
    """The SDK's own list; it runs Enhanced KYC for BASIC_KYC too, which `Job.basic_kyc` does not."""

    BIOMETRIC_KYC = 1
    SMART_SELFIE_AUTHENTICATION = 2
    SMART_SELFIE_REGISTRATION = 4
    ENHANCED_KYC = 5
    BASIC_KYC = 5
    DOCUMENT_VERIFICATION = 6
    BUSINESS_VERIFICATION = 7
    UPDATE_PHOTO = 8
    COMPARE_USER_INFO = 9
    ENHANCED_DOCUMENT_VERIFICATION = 11


class ImageTypes(IntEnum):
    """What a picture shows, and whether it is a file or base64."""

    SELFIE_FILE = 0
    ID_CARD_FILE = 1
    SELFIE_IMAGE_STRING = 2
    ID_CARD_IMAGE_STRING = 3
    LIVENESS_IMAGE_FILE = 4
    ID_CARD_BACK_FILE = 5
    LIVENESS_IMAGE_STRING = 6
    ID_CARD_BACK_STRING = 7
