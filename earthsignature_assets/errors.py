"""Every error of the project, in one place.

A message names what is wrong (the item, the band, the field) and the remedy. `retryable` says whether trying
the same call again can help: retry policies read it, nothing else decides.
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
    """A STAC item that lacks a fact or an asset that the chain needs."""


class BandError(EarthSignatureError):
    """A band that is missing, damaged, of another size, or on another grid than the item says."""


class ProviderUnavailableError(EarthSignatureError):
    """A STAC API or a band's server that does not answer, or not in time."""

    retryable = True


class ProviderAnswerError(EarthSignatureError):
    """A STAC API that refuses the request or answers with what is no STAC."""


class ModelError(EarthSignatureError):
    """A model or version that is absent, damaged, or does not fit the patches."""


class EngineUnavailableError(EarthSignatureError):
    """An inference engine that does not answer, or not in time."""

    retryable = True


class EngineBusyError(EngineUnavailableError):
    """An inference engine that answers, but cannot take a window for now: its queue is full."""


class GroundTruthError(EarthSignatureError):
    """Ground truth that cannot be used: another CRS, unknown codes, no labelled pixel."""


class TrainingError(EarthSignatureError):
    """Training that cannot go on: the loss is not a number, PyTorch is absent, the checkpoint is another training's."""


class ProductError(EarthSignatureError):
    """A product that fails its own validation, or whose files do not match their checksums."""


class StoreUnavailableError(EarthSignatureError):
    """The product store or the catalogue cannot be reached, or refuses to be written."""

    retryable = True


class NoSuchProductError(EarthSignatureError):
    """A product that the catalogue does not have."""


class SupersededError(EarthSignatureError):
    """A content of a product that has been replaced: what was begun with it must begin anew."""


class SimulationError(EarthSignatureError):
    """A scene recipe that contradicts itself, or asks for what no Sentinel-2 scene is."""


class QueryError(EarthSignatureError):
    """A query that cannot be answered as asked; `field` names the part that is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.remedy = message


class CredentialError(EarthSignatureError):
    """A call that needs a credential and carries none, or one that is not accepted."""


class RoleError(EarthSignatureError):
    """A call whose credential is valid but does not allow it."""


class TokenError(EarthSignatureError):
    """A token file that cannot be read or written, or a token's name that is taken, unknown or no name."""


class CertificateError(EarthSignatureError):
    """A certificate or key of TLS that is missing, is no PEM, or does not fit the other."""


class DownloadError(EarthSignatureError):
    """A file that cannot be written where a download is to go."""


class BusyError(EarthSignatureError):
    """A call above what the service grants: too many at once or a second; `retry_after_s` says when to try again."""

    retryable = True

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class OversizeError(EarthSignatureError):
    """A request larger than the service takes."""


class AlreadyExistsError(EarthSignatureError):
    """A product to create that the store holds already."""


class ServiceUnavailableError(EarthSignatureError):
    """The gRPC service does not answer, or cannot for now; `retry_after_s` is when it says to come back, if it does."""

    retryable = True

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ServiceAnswerError(EarthSignatureError):
    """The gRPC service refuses the call for another reason than the query, or answers with what cannot be read."""


class MissingExtraError(EarthSignatureError):
    """An extra of the package that a command needs and that is not installed."""

    def __init__(self, extra: str) -> None:
        super().__init__(f"needs the extra `{extra}`: pip install 'earthsignature[{extra}]'")
        self.extra = extra
