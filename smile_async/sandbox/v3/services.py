"""What V3 is asked about the account and its users: four lists, what an app may show, reports of fraud."""

from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute

from smile_async.sandbox import catalogue
from smile_async.sandbox.credentials import timestamp_at
from smile_async.sandbox.desk import Desk

from .calls import Call, route
from .reading import read_parts
from .refusals import Refusal, account_refusal, as_json, missing, refusal

__all__ = ["service_routes"]


def service_routes(desk: Desk) -> list[BaseRoute]:
    """Their routes."""
    services = {
        "bank_codes": _bank_codes,
        "supported_id_types": _id_types,
        "supported_documents": _documents,
        "id_status": _id_status,
        "config": _config,
    }
    routes: list[BaseRoute] = [
        route(desk, "account", "GET", f"/v3/services/{name}", answer) for name, answer in services.items()
    ]
    routes.append(route(desk, "account", "POST", "/v3/users/{user_id}/report_fraud", _report_fraud))
    return routes


def _country(call: Call, name: str = "country") -> str:
    country = call.request.query_params.get(name, "")
    if country and not (len(country) == 2 and country.isascii() and country.isalpha()):
        raise account_refusal(400, "2413", f"Invalid parameter: {name}")
    return country.upper()


async def _bank_codes(call: Call) -> Response:
    return as_json({"bank_codes": catalogue.banks(_country(call))})


async def _id_types(call: Call) -> Response:
    return as_json({"id_types": catalogue.id_types(_country(call))})


async def _documents(call: Call) -> Response:
    return as_json(catalogue.documents(_country(call, "country_code"), call.request.query_params.get("continent", "")))


async def _id_status(call: Call) -> Response:
    call.bound()
    country, id_type = _country(call), call.request.query_params.get("id_type", "")
    if not (country and id_type):
        raise account_refusal(400, "2413", "Missing parameter: country and id_type are required")
    if not any(row["type"] == id_type for row in catalogue.id_types(country)):
        raise Refusal(400, {"message": "No data for this id type in the last hour", "status": "Bad Request"})
    said: dict[str, Any] = {
        "last_checked": timestamp_at(call.desk.settings.clock.time()),
        "last_check_status": "success",
        "last_hour_success_rate": "95%",
        "last_known_status": "online",
        "last_check_success_rate": "100%",
    }
    return as_json(said)


async def _config(call: Call) -> Response:
    """What official apps read, though the OpenAPI file does not have it."""
    bound, offered = call.bound().values(), catalogue.products_config()
    fields = [{"key_name": "id_number", "label": "ID number", "field_type": "text", "required": True}]
    products = {
        product: {
            country: [{"key_name": each, "label": each, "fields": fields} for each in types]
            for country, types in countries.items()
        }
        for product, countries in offered["idSelection"].items()
    }
    more = {"products": products, "fields_to_collect": ["user_details"]}
    shown = {name: bound[name] for name in ("country", "id_type") if name in bound}
    return as_json({**offered, **more, "token_provided_fields": sorted(bound), "token_provided_values": shown})


async def _report_fraud(call: Call) -> Response:
    call.bound()
    user_id, texts = call.request.path_params["user_id"], call.form().texts
    said = read_parts(texts, ("is_fraud", "reported_by", "reason", "notes"), call.desk.settings)
    for name in ("is_fraud", "reported_by"):
        if name not in said:
            raise missing(name)
    if said["is_fraud"] and "reason" not in said:
        raise missing("reason")
    if "notes" not in said and (not said["is_fraud"] or said["reason"] == "OTHER"):
        raise missing("notes")
    if not call.desk.registry.known(user_id):
        raise refusal(404, "User not found")
    call.desk.registry.report_fraud(user_id, is_fraud=said["is_fraud"])
    done = "flagged as fraud" if said["is_fraud"] else "cleared of fraud"
    return as_json({"status": "accepted", "message": f"User {done}.", "user_id": user_id}, 202)
