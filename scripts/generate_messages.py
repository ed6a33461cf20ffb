"""Generate `earthsignature_grpc/messages` from `proto/`: the betterproto2 messages and the wire descriptors.

protoc (of grpcio-tools) compiles the files into one descriptor set. Reflection and the strict decoder use that set as
it is. betterproto2 does not support proto2 presence and would drop `type = POINT` and `precision = 0`, so the script
first converts the descriptors to proto3 with explicit presence; the bytes on the wire stay the same.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
MESSAGES = ROOT / "earthsignature_grpc" / "messages"
DESCRIPTORS = "descriptors.binpb"
# No live method reads the legacy request, which would bring all of descriptor.proto into Python.
REFLECTION_ONLY = ("snapearth/api/v1/database/legacy.proto", "google/protobuf/descriptor.proto")


def compile_descriptors() -> FileDescriptorSet:
    """Compile all files of `proto/` with their imports and comments, imports first."""
    import grpc_tools

    well_known = Path(grpc_tools.__file__).parent / "_proto"
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / DESCRIPTORS
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", f"-I{well_known}", "--include_imports"]
        command += ["--include_source_info", f"--descriptor_set_out={target}", *sources]
        subprocess.run(command, check=True)  # noqa: S603 - our own arguments
        return FileDescriptorSet.FromString(target.read_bytes())


def as_proto3(file: FileDescriptorProto) -> FileDescriptorProto:
    """Convert a proto2 file to proto3 with the same bytes on the wire.

    Singular scalars and enums get explicit presence (`optional`), which keeps zero values on the wire; message
    fields always have presence. Defaults are dropped because writers set their values.
    """
    rendition = FileDescriptorProto()
    rendition.CopyFrom(file)
    rendition.syntax = "proto3"
    for message in rendition.message_type:
        _message_as_proto3(message)
    return rendition


def _message_as_proto3(message: DescriptorProto) -> None:
    for nested in message.nested_type:
        _message_as_proto3(nested)
    for field in message.field:
        field.ClearField("default_value")
        if field.label == FieldDescriptorProto.LABEL_REQUIRED:
            field.label = FieldDescriptorProto.LABEL_OPTIONAL
        singular = field.label == FieldDescriptorProto.LABEL_OPTIONAL and not field.HasField("oneof_index")
        if singular and field.type != FieldDescriptorProto.TYPE_MESSAGE:
            field.proto3_optional = True
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{field.name}")


def generate(target: Path) -> None:
    """Write the package of messages into `target`, replacing its content."""
    descriptors = compile_descriptors()
    needed = [file for file in descriptors.file if file.name not in REFLECTION_ONLY]
    ours = [file.name for file in needed if not file.name.startswith("google/")]
    request = CodeGeneratorRequest(file_to_generate=ours, parameter="client_generation=none,server_generation=none")
    for file in needed:
        request.proto_file.append(as_proto3(file) if file.name in ours and file.syntax != "proto3" else file)
    # The plugin formats with the ruff on PATH and the configuration it finds around the working directory. Put this
    # environment's ruff first and run in an empty folder, so that every checkout generates the same text.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    with tempfile.TemporaryDirectory() as folder:
        plugin = [sys.executable, "-m", "betterproto2_compiler.plugin"]
        answer = subprocess.run(  # noqa: S603 - our own arguments
            plugin,
            input=request.SerializeToString(),
            capture_output=True,
            check=False,
            cwd=folder,
            env={**os.environ, "PATH": path},
        )
    if answer.returncode:
        raise SystemExit(answer.stderr.decode())
    response = CodeGeneratorResponse.FromString(answer.stdout)
    shutil.rmtree(target, ignore_errors=True)
    for generated in response.file:
        written = target / generated.name
        written.parent.mkdir(parents=True, exist_ok=True)
        written.write_text(generated.content, encoding="utf-8")
    for file in descriptors.file:
        file.ClearField("source_code_info")  # reflection clients do not read comments
    (target / DESCRIPTORS).write_bytes(descriptors.SerializeToString(deterministic=True))


def main() -> None:
    """Parse the command line and generate the messages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--output", type=Path, default=MESSAGES, help="folder to write (default: the one in the package)"
    )
    generate(parser.parse_args().output)


if __name__ == "__main__":
    main()
