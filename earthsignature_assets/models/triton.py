"""Triton's configuration of a model, written beside its versions."""

from earthsignature_assets.models.repository import ModelDescription


def triton_configuration(description: ModelDescription) -> str:
    """Return `config.pbtxt` for Triton's ONNX Runtime backend.

    Height and width are free in steps of the stride. Batches of equal patches are gathered for at most 5 ms; the
    number of instances is one per device, because one instance already uses all its threads.
    """
    return f"""name: "{description.model.name}"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [
  {{
    name: "reflectance"
    data_type: TYPE_UINT16
    dims: [ {len(description.bands)}, -1, -1 ]
  }}
]
output [
  {{
    name: "class_index"
    data_type: TYPE_UINT8
    dims: [ -1, -1 ]
  }},
  {{
    name: "confidence"
    data_type: TYPE_UINT8
    dims: [ -1, -1 ]
  }}
]
dynamic_batching {{
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: 5000
}}
instance_group [ {{ count: 1 }} ]
version_policy {{ all {{ }} }}
"""
