"""Which API a ticket went to, and which products an API has: what belongs to the other is refused by name."""

from smile_async.errors import InvalidJob
from smile_async.jobs.product import Product
from smile_async.jobs.ticket import Ticket

__all__ = ["APIS", "check_ticket", "product_flaw", "ticket_flaw"]

APIS = ("v1", "v3")
#: Products that only one of them has (v3/wire.md §4).
_ONLY = {
    Product.BASIC_KYC: "v1",
    Product.BUSINESS_VERIFICATION: "v1",
    Product.UPDATE_PHOTO: "v1",
    Product.COMPARE: "v3",
}


def product_flaw(product: Product | None, api: str) -> str:
    """Why *api* has no such product, and which has; "" if nothing is known against it."""
    home = api if product is None else _ONLY.get(product, api)
    return "" if home == api else f"{api} has no {product}: send it with api={home!r}"


def ticket_flaw(ticket: Ticket, api: str) -> str:
    """Why *ticket* can not be asked about at *api*; "" if it can: one that was not sent yet fits both."""
    number = ticket.smile_job_id or ""
    home = ticket.api or ("v1" if number.isdigit() else "v3" if number.startswith("job_") else api)
    if home == api:
        return ""
    return f"job {ticket.job_id} of user {ticket.user_id} went to {home}: ask with a session of api={home!r}"


def check_ticket(ticket: Ticket, api: str) -> None:
    """Raise InvalidJob for a ticket that *api* can not be asked about."""
    why = ticket_flaw(ticket, api)
    if why:
        raise InvalidJob(why, ticket=ticket)
