"""A server of OTLP profiles for the tests, by gRPC or HTTP, on what PyPI's opentelemetry-proto generates.

    otlp_server.py grpc|http [CODE ...]

Answers the first requests with the codes and takes the others. Prints its port, then each request that it
took as a line of JSON, after checking what the format demands of the tables. Ends with its standard input.
"""

import gzip
import json
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from opentelemetry.proto.collector.profiles.v1development import (
    profiles_service_pb2 as service,
    profiles_service_pb2_grpc as service_grpc,
)

codes = sys.argv[2:]


def show(line):
    print(line, flush=True)


def any_value(value):
    return getattr(value, value.WhichOneof("value"))


def read(request):
    """What a request says, with every index followed."""
    tables = request.dictionary
    strings = tables.string_table
    for name, table in (
        ("mapping", tables.mapping_table),
        ("location", tables.location_table),
        ("function", tables.function_table),
        ("link", tables.link_table),
        ("attribute", tables.attribute_table),
        ("stack", tables.stack_table),
    ):
        assert table[0] == type(table[0])(), f"{name} table begins with {table[0]}"
        bytes_of = [item.SerializeToString(deterministic=True) for item in table]
        assert len(set(bytes_of)) == len(bytes_of), f"{name} table has an item twice"
    assert strings[0] == "" and len(set(strings)) == len(strings)

    def attributes(indices):
        assert 0 not in indices
        found = [tables.attribute_table[index] for index in indices]
        keys = [strings[item.key_strindex] for item in found]
        assert len(set(keys)) == len(keys), f"a key twice: {keys}"
        return dict(zip(keys, (any_value(item.value) for item in found)))

    def frame(index):
        location = tables.location_table[index]
        mapping = tables.mapping_table[location.mapping_index]
        if location.mapping_index:
            assert mapping.memory_start <= location.address < mapping.memory_limit
        functions = [tables.function_table[line.function_index] for line in location.lines]
        return {
            "names": [strings[function.name_strindex] for function in functions],
            "system_names": [strings[function.system_name_strindex] for function in functions],
            "files": [strings[function.filename_strindex] for function in functions],
            "lines": [line.line for line in location.lines],
            "address": location.address,
            "mapping": strings[mapping.filename_strindex],
            "of_mapping": attributes(mapping.attribute_indices),
            "of_frame": attributes(location.attribute_indices),
        }

    def sample(item):
        stack = tables.stack_table[item.stack_index]
        return {
            "value": list(item.values),
            "attributes": attributes(item.attribute_indices),
            "frames": [frame(index) for index in stack.location_indices],
        }

    def profile(item, resource, scope):
        kind = item.sample_type, item.period_type
        return {
            "resource": {pair.key: any_value(pair.value) for pair in resource.attributes},
            "scope": [scope.name, scope.version],
            "type": [strings[kind[0].type_strindex], strings[kind[0].unit_strindex]],
            "period_type": [strings[kind[1].type_strindex], strings[kind[1].unit_strindex]],
            "period": item.period,
            "time": item.time_unix_nano,
            "duration": item.duration_nano,
            "id": item.profile_id.hex(),
            "samples": [sample(one) for one in item.samples],
        }

    return [
        profile(item, of_resource.resource, of_scope.scope)
        for of_resource in request.resource_profiles
        for of_scope in of_resource.scope_profiles
        for item in of_scope.profiles
    ]


class Grpc(service_grpc.ProfilesServiceServicer):
    def Export(self, request, context):
        if codes:
            context.abort(grpc.StatusCode[codes.pop(0)], "as told")
        show(json.dumps(read(request)))
        return service.ExportProfilesServiceResponse()


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        assert self.path == "/v1development/profiles", self.path
        assert self.headers["content-type"] == "application/x-protobuf"
        assert self.headers["content-encoding"] == "gzip"
        request = service.ExportProfilesServiceRequest.FromString(gzip.decompress(body))
        show(json.dumps(read(request)))
        reply = service.ExportProfilesServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_):
        pass


def main():
    if sys.argv[1] == "grpc":
        server = grpc.server(
            futures.ThreadPoolExecutor(max_workers=1), compression=grpc.Compression.Gzip
        )
        service_grpc.add_ProfilesServiceServicer_to_server(Grpc(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
    else:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Http)
        port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
    show(port)
    sys.stdin.read()


main()
