"""Every error of the project, in one place.

A message names the fault (the item, the band, the field) and the remedy. `retryable` states whether repeating the
same call can help: retry policies use nothing else.
"""

from typing import ClassVar


class EarthSignatureError(Exception):
    """Base of every error that the project raises on purpose."""

    retryable: ClassVar[bool] = False


class InvalidKeyError(EarthSignatureError):
    """A scene key, tile, model version or product name that does not parse."""


class ConfigurationError(EarthSignatureError):
    """A setting, or a file that a setting names, that cannot be used."""


class UnknownClassError(EarthSignatureError):
    """A land-cover code or name outside the CORINE nomenclature."""


class NoSuchSceneError(EarthSignatureError):
    """A day or a scene for which discovery found no item."""


class ItemError(EarthSignatureError):
    """A STAC item that lacks a property or an asset that the chain needs."""


class BandError(EarthSignatureError):
    """A band that is missing, damaged, or does not match the size or grid in its item."""


class ProviderUnavailableError(EarthSignatureError):
    """A STAC API or a band's server that does not respond, or not in time."""

    retryable = True


class ProviderAnswerError(EarthSignatureError):
    """A STAC API that refuses the request or responds with invalid STAC."""


class ModelError(EarthSignatureError):
    """A model or version that is absent, damaged, or does not fit the patches."""


class EngineUnavailableError(EarthSignatureError):
    """An inference engine that does not respond, or not in time."""

    retryable = True


class EngineBusyError(EngineUnavailableError):
    """An inference engine that responds, but cannot take a window now: its queue is full."""


class GroundTruthError(EarthSignatureError):
    """Ground truth that cannot be used: another CRS, unknown codes, no labelled pixel."""


class TrainingError(EarthSignatureError):
    """Training that cannot continue: the loss is NaN, PyTorch is absent, the checkpoint is from another training."""


class ProductError(EarthSignatureError):
    """A product that fails its own validation, or whose files do not match their checksums."""


class StoreUnavailableError(EarthSignatureError):
    """A product store, catalogue or disk that cannot be reached or written."""

    retryable = True


class NoSuchProductError(EarthSignatureError):
    """A product that is not in the catalogue."""


class SupersededError(EarthSignatureError):
    """Content of a product that has been replaced: a read that began with it must restart."""


class SimulationError(EarthSignatureError):
    """A scene recipe that contradicts itself, or describes an impossible Sentinel-2 scene."""


class QueryError(EarthSignatureError):
    """An invalid query; `field` names the wrong part."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.remedy = message


class CredentialError(EarthSignatureError):
    """A call whose credential is missing or not accepted."""


class RoleError(EarthSignatureError):
    """A call whose credential is valid but does not allow it."""


class TokenError(EarthSignatureError):
    """A token file that cannot be read or written, or a token's name that is taken, unknown or invalid."""


class CertificateError(EarthSignatureError):
    """A TLS certificate or key that is missing, is not PEM, or does not match the other."""


class DownloadError(EarthSignatureError):
    """A download that cannot be written to its file."""


class BusyError(EarthSignatureError):
    """A call above the service's limit on concurrency or rate; `retry_after_s` is the time to wait before a retry."""

    retryable = True

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class OversizeError(EarthSignatureError):
    """A request larger than the service accepts."""


class AlreadyExistsError(EarthSignatureError):
    """A product to create that already exists in the store."""


class ServiceUnavailableError(EarthSignatureError):
    """A gRPC service that does not respond or is unavailable; `retry_after_s` is the wait that it asks for, if any."""

    retryable = True

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ServiceAnswerError(EarthSignatureError):
    """A gRPC service that refuses the call for another reason than the query, or whose response cannot be read."""


class MissingExtraError(EarthSignatureError):
    """An extra that a command needs but that is not installed."""

    def __init__(self, extra: str) -> None:
        super().__init__(f"needs the extra `{extra}`: pip install 'earthsignature[{extra}]'")
        self.extra = extra
