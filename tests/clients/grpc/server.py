# grpc.testing.TestService, as gRPC's interop tests want it, on the address and with the
# certificate, key and credential of the command line. What becomes of calls is asked of /seen/.
import concurrent.futures
import sys
import threading

import grpc

ADDRESS, CERTIFICATE, KEY, AUTHORIZATION = sys.argv[1:5]
# Of calls with a name (`x-call`): which have begun, and which are over.
SEEN = {"begun": set(), "ended": set()}
CHANGED = threading.Condition()


def echo_metadata(context):
    sent = dict(context.invocation_metadata())
    if sent.get("authorization") != AUTHORIZATION:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "no credential")
    if "x-grpc-test-echo-initial" in sent:
        context.send_initial_metadata(
            [("x-grpc-test-echo-initial", sent["x-grpc-test-echo-initial"])]
        )
    if "x-grpc-test-echo-trailing-bin" in sent:
        context.set_trailing_metadata(
            [("x-grpc-test-echo-trailing-bin", sent["x-grpc-test-echo-trailing-bin"])]
        )


def status(context, request):
    wanted = first(request, 7, None)
    if wanted is None:
        return
    wanted = parse(wanted)
    code = next(c for c in grpc.StatusCode if c.value[0] == first(wanted, 1, 0))
    context.abort(code, first(wanted, 2).decode())


def is_true(box):
    return box is not None and first(parse(box), 1, 0) == 1


def empty(_, context):
    echo_metadata(context)
    return b""


def unary(data, context):
    echo_metadata(context)
    request = parse(data)
    status(context, request)
    if is_true(first(request, 6, None)):
        context.set_compression(grpc.Compression.Gzip)
    return message((1, payload(first(request, 2, 0))))


def answers(context, request):
    status(context, request)
    for parameters in request.get(2, []):
        parameters = parse(parameters)
        compressed = first(parameters, 3, None)
        if compressed is not None and not is_true(compressed):
            context.disable_next_message_compression()
        yield message((1, payload(first(parameters, 1, 0))))


def streaming_output(data, context):
    echo_metadata(context)
    request = parse(data)
    if any(is_true(first(parse(p), 3, None)) for p in request.get(2, [])):
        context.set_compression(grpc.Compression.Gzip)
    yield from answers(context, request)


def watch(context):
    name = dict(context.invocation_metadata()).get("x-call")

    def saw(what):
        with CHANGED:
            SEEN[what].add(name)
            CHANGED.notify_all()

    context.add_callback(lambda: saw("ended"))
    saw("begun")


def streaming_input(requests, context):
    echo_metadata(context)
    watch(context)
    return message((1, sum(body_size(first(parse(data), 1)) for data in requests)))


def full_duplex(requests, context):
    echo_metadata(context)
    watch(context)
    for data in requests:
        yield from answers(context, parse(data))


def wait_until(what):
    def handler(name, _):
        with CHANGED:
            done = CHANGED.wait_for(lambda: name.decode() in SEEN[what], timeout=60)
        return b"yes" if done else b"no"

    return handler


UNARY, OUT, IN, BOTH = (
    grpc.unary_unary_rpc_method_handler,
    grpc.unary_stream_rpc_method_handler,
    grpc.stream_unary_rpc_method_handler,
    grpc.stream_stream_rpc_method_handler,
)
server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
server.add_generic_rpc_handlers(
    [
        grpc.method_handlers_generic_handler(
            "grpc.testing.TestService",
            {
                "EmptyCall": UNARY(empty),
                "UnaryCall": UNARY(unary),
                "StreamingOutputCall": OUT(streaming_output),
                "StreamingInputCall": IN(streaming_input),
                "FullDuplexCall": BOTH(full_duplex),
            },
        ),
        grpc.method_handlers_generic_handler(
            "seen",
            {"Begun": UNARY(wait_until("begun")), "Ended": UNARY(wait_until("ended"))},
        ),
    ]
)
with open(CERTIFICATE, "rb") as certificate, open(KEY, "rb") as key:
    credentials = grpc.ssl_server_credentials([(key.read(), certificate.read())])
server.add_secure_port(ADDRESS, credentials)
server.start()
print("ready", flush=True)
server.wait_for_termination()
