"""The official SDK's `IdApi` and `BusinessVerification`: one request, answered by the result."""

from collections.abc import Mapping
from typing import Any

from smile_async.jobs.product import Product
from smile_async.webapi.base import Base
from smile_async.webapi.jobs import job_of, product_of

__all__ = ["BusinessVerification", "IdApi"]


class BusinessVerification(Base):
    """What the register of companies has under a number."""

    async def submit_job(self, partner_params: Mapping[str, Any], id_params: Mapping[str, Any]) -> dict[str, Any]:
        """The result of a business verification (job_type 7). Raises ValueError and SmileError, as `IdApi` does."""
        if product_of(partner_params) is not Product.BUSINESS_VERIFICATION:
            raise ValueError("a business verification has the job_type 7")
        try:
            job = job_of(partner_params, (), id_params, {})
        finally:
            del id_params  # no frame of ours shows an id number in a traceback
        return await self._result(job)


class IdApi(Base):
    """What an authority has under a number."""

    async def submit_job(
        self,
        partner_params: Mapping[str, Any],
        id_params: Mapping[str, Any],
        options_params: Mapping[str, Any] | None = None,  # noqa: ARG002 - the SDK's argument, which it does not use
    ) -> dict[str, Any]:
        """The result of Enhanced KYC (job_type 5) or a business verification (7).

        Raises ValueError for what can not be a job, SmileError for everything else.
        """
        if product_of(partner_params) not in {Product.ENHANCED_KYC, Product.BUSINESS_VERIFICATION}:
            raise ValueError("IdApi takes the job_types 5 and 7: for any other use WebApi")
        try:
            job = job_of(partner_params, (), id_params, {})
        finally:
            del id_params  # no frame of ours shows an id number in a traceback
        return await self._result(job)
