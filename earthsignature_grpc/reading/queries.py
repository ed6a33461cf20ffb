"""Request fields as catalogue queries; each refusal names the field and the remedy."""

import datetime as dt
from collections.abc import Iterable

from earthsignature_assets.errors import InvalidKeyError, QueryError, UnknownClassError
from earthsignature_assets.keys import ModelVersion
from earthsignature_assets.nomenclature import class_of, parse_class
from earthsignature_assets.products.catalogue.catalogue import ProductQuery
from earthsignature_grpc.reading.areas import parse_area

MAX_RESULTS = 500
"""Products that one ListSegmentation sends, at most and by default."""

_DAY_WITHOUT_ITS_FIRST_INSTANT = dt.timedelta(days=1) - dt.timedelta(microseconds=1)


def product_query(
    *,
    wkt: str | None,
    start_date: dt.datetime | None,
    end_date: dt.datetime | None,
    class_codes: frozenset[int],
    model: str | None,
    product_ids: Iterable[str] = (),
    limit: int | None = None,
    max_cloud_percent: float | None = None,
) -> ProductQuery:
    """Build the query from the raw fields of a request.

    Unset, empty and absent mean the same for `wkt`, `model` and `product_ids`. An `end_date` at midnight UTC includes
    that whole day: answers give the acquisition day as midnight, and a client that sends this date back must find the
    product again.

    Raises:
        QueryError: a field is invalid.
    """
    if start_date is not None and end_date is not None and start_date > end_date:
        raise QueryError("start_date", f"{start_date.isoformat()} is after end_date {end_date.isoformat()}; swap them")
    if end_date is not None and end_date.time() == dt.time.min:
        end_date += _DAY_WITHOUT_ITS_FIRST_INSTANT
    ids = frozenset(name.removesuffix(".SAFE") for name in product_ids)
    return ProductQuery(
        area=parse_area(wkt) if wkt else None,
        start=start_date,
        end=end_date,
        product_ids=ids or None,
        class_codes=class_codes,
        model=parse_model(model) if model else None,
        limit=limit,
        max_cloud_percent=max_cloud_percent,
    )


def parse_model(text: str) -> ModelVersion:
    """Parse the model version of a request.

    Raises:
        QueryError: the text is not a model version.
    """
    try:
        return ModelVersion.parse(text)
    except InvalidKeyError as error:
        raise QueryError("model", str(error)) from error


def parse_result_limit(n_results: int | None) -> int:
    """Parse the number of products to send: 500 for 0 or unset, never more than 500.

    Raises:
        QueryError: the number is negative.
    """
    if n_results is not None and n_results < 0:
        raise QueryError("n_results", f"{n_results} is negative; give 1…{MAX_RESULTS}, or 0 for {MAX_RESULTS}")
    return min(n_results or MAX_RESULTS, MAX_RESULTS)


def parse_class_names(categories: Iterable[str]) -> frozenset[int]:
    """Parse categories given as codes or names, in any case, into CORINE codes (version 1).

    Raises:
        QueryError: a category is not one of the 44.
    """
    try:
        return frozenset(parse_class(category).code for category in categories)
    except UnknownClassError as error:
        raise QueryError("categories", str(error)) from error


def parse_class_codes(categories: Iterable[int], field: str = "categories") -> frozenset[int]:
    """Check categories given as CORINE codes (version 2).

    Raises:
        QueryError: a category is not one of the 44.
    """
    try:
        return frozenset(class_of(category).code for category in categories)
    except UnknownClassError as error:
        raise QueryError(field, f"{error}; for example 312 is coniferous forest") from error
