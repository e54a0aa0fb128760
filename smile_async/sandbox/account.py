"""What is asked about the account itself: a token for a web page, which services and documents there are.

wire.md §13.6.
"""

import secrets
from typing import Any

from starlette.requests import Request

from . import catalogue
from .desk import Desk
from .requests import Refusal, parse_signed

__all__ = ["products_config", "services", "token", "valid_documents"]

#: What a web page can be made for; other names are 2217.
_WEB_PRODUCTS = {
    *("authentication", "basic_kyc", "smartselfie", "biometric_kyc", "enhanced_kyc", "doc_verification"),
    *("ekyc_smartselfie", "identity_verification", "enhanced_document_verification", "e_signature"),
}


def _signed(desk: Desk, body: bytes, *needed: str) -> dict[str, Any]:
    settings = desk.settings
    return parse_signed(body, desk.keys, settings.clock.time(), settings.window, *needed)


async def token(desk: Desk, _: Request, body: bytes) -> dict[str, Any]:
    """POST /v1/token; whether it wants a callback URL is not published, and the official Python SDK may send none."""
    data = _signed(desk, body, "user_id", "job_id", "product")
    if data["product"] not in _WEB_PRODUCTS:
        raise Refusal("2217", "invalid product")
    return {"token": secrets.token_urlsafe(48)}  # lifetime and format are not published


async def services(_: Desk, __: Request, ___: bytes) -> dict[str, Any]:
    """GET /v1/services, which nobody signs."""
    return catalogue.services()


async def products_config(desk: Desk, _: Request, body: bytes) -> dict[str, Any]:
    """POST /v1/products_config."""
    _signed(desk, body)
    return catalogue.products_config()


async def valid_documents(desk: Desk, request: Request, body: bytes) -> dict[str, Any]:
    """POST /v1/valid_documents, signed, or GET, which is not; `?locale=` changes names, of which there is one set."""
    if request.method == "POST":
        _signed(desk, body)
    asked = request.query_params
    return catalogue.documents(asked.get("country_code", "").upper(), asked.get("continent", ""))
