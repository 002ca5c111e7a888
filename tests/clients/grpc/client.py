# The cases of gRPC's interop tests (interop-test-descriptions), each under its own name, and
# after them what a gateway's own refusals look like. Prints the name of each that held.
import queue
import sys
import threading

import grpc

GOOD, HTTP1, REFUSED = "grpc.good.test:443", "h1.good.test:443", "elsewhere.test:443"
WAIT = 60  # seconds, and never reached


def channel_to(target):
    return grpc.secure_channel(target, grpc.ssl_channel_credentials())


channel = channel_to(GOOD)
empty_call = channel.unary_unary(SERVICE + "EmptyCall")
unary_call = channel.unary_unary(SERVICE + "UnaryCall")
output_call = channel.unary_stream(SERVICE + "StreamingOutputCall")
input_call = channel.stream_unary(SERVICE + "StreamingInputCall")
duplex_call = channel.stream_stream(SERVICE + "FullDuplexCall")
seen = {what: channel.unary_unary("/seen/" + what) for what in ["Begun", "Ended"]}
TRUE, FALSE = message((1, 1)), b""
SIZES = [(27182, 31415), (8, 9), (1828, 2653), (45904, 58979)]


def large(*more):
    return message((2, 314159), (3, payload(271828)), *more)


def parameters(size, compressed=None):
    fields = [(1, size)] + ([] if compressed is None else [(3, compressed)])
    return (2, message(*fields))


def size_of(answer):
    return body_size(first(parse(answer), 1))


def refusal(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError("not refused")


def wait_until(what, name):
    """The server sees that the call of this name has begun, or is over."""
    assert seen[what](name.encode(), timeout=2 * WAIT) == b"yes", (what, name)


def named(name):
    return [("x-call", name)]


class Requests:
    """Sends what it is told to, and ends when told to."""

    def __init__(self):
        self.queue = queue.Queue()

    def __iter__(self):
        return iter(self.queue.get, None)

    def send(self, data):
        self.queue.put(data)

    def end(self):
        self.queue.put(None)


def empty_unary():
    assert empty_call(b"", timeout=WAIT) == b""


def large_unary():
    assert size_of(unary_call(large(), timeout=WAIT)) == 314159


def client_compressed_unary():
    asked = large((8, TRUE))
    answer = unary_call(asked, compression=grpc.Compression.Gzip, timeout=WAIT)
    assert size_of(answer) == 314159
    assert size_of(unary_call(large((8, FALSE)), timeout=WAIT)) == 314159


def server_compressed_unary():
    for compressed in [TRUE, FALSE]:
        assert size_of(unary_call(large((6, compressed)), timeout=WAIT)) == 314159


def client_streaming():
    sent = (message((1, payload(size))) for size, _ in SIZES)
    answer = input_call(sent, timeout=WAIT)
    assert first(parse(answer), 1) == 74922


def client_compressed_streaming():
    sent = (message((1, payload(size)), (2, TRUE)) for size, _ in SIZES)
    answer = input_call(sent, compression=grpc.Compression.Gzip, timeout=WAIT)
    assert first(parse(answer), 1) == 74922


def server_streaming():
    asked = message(*(parameters(size) for _, size in SIZES))
    got = [size_of(answer) for answer in output_call(asked, timeout=WAIT)]
    assert got == [size for _, size in SIZES], got


def server_compressed_streaming():
    asked = message(parameters(31415, TRUE), parameters(92653, FALSE))
    got = [size_of(answer) for answer in output_call(asked, timeout=WAIT)]
    assert got == [31415, 92653], got


def ping_pong():
    requests = Requests()
    answers = duplex_call(iter(requests), timeout=WAIT)
    # Each answer is here before the next request is sent.
    for sent, wanted in SIZES:
        requests.send(message(parameters(wanted), (3, payload(sent))))
        assert size_of(next(answers)) == wanted
    requests.end()
    assert list(answers) == []
    assert answers.code() == grpc.StatusCode.OK


def empty_stream():
    answers = duplex_call(iter([]), timeout=WAIT)
    assert list(answers) == [] and answers.code() == grpc.StatusCode.OK


METADATA = [
    ("x-grpc-test-echo-initial", "test_initial_metadata_value"),
    ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab"),
]


def has_metadata(call):
    assert METADATA[0] in [tuple(pair) for pair in call.initial_metadata()]
    assert METADATA[1] in [tuple(pair) for pair in call.trailing_metadata()]


def custom_metadata():
    _, call = unary_call.with_call(large(), metadata=METADATA, timeout=WAIT)
    has_metadata(call)
    asked = message(parameters(314159), (3, payload(271828)))
    answers = duplex_call(iter([asked]), metadata=METADATA, timeout=WAIT)
    assert [size_of(answer) for answer in answers] == [314159]
    has_metadata(answers)


def status_from(text):
    wanted = (7, message((1, 2), (2, text.encode())))
    unary = refusal(lambda: unary_call(message(wanted), timeout=WAIT))
    assert unary == (grpc.StatusCode.UNKNOWN, text), unary
    streamed = refusal(lambda: list(duplex_call(iter([message(wanted)]), timeout=WAIT)))
    assert streamed == (grpc.StatusCode.UNKNOWN, text), streamed


def status_code_and_message():
    status_from("test status message")


def special_status_message():
    status_from("\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n")


def unimplemented_method():
    call = channel.unary_unary(SERVICE + "UnimplementedCall")
    assert refusal(lambda: call(b"", timeout=WAIT))[0] == grpc.StatusCode.UNIMPLEMENTED


def unimplemented_service():
    call = channel.unary_unary("/grpc.testing.UnimplementedService/UnimplementedCall")
    assert refusal(lambda: call(b"", timeout=WAIT))[0] == grpc.StatusCode.UNIMPLEMENTED


def cancel_after_begin():
    call = input_call.future(iter(Requests()), timeout=WAIT)
    call.cancel()
    assert call.code() == grpc.StatusCode.CANCELLED
    # That one may have got nowhere; of one that the server knows it hears.
    requests = Requests()
    name = "cancel_after_begin"
    call = input_call.future(iter(requests), metadata=named(name), timeout=WAIT)
    requests.send(message((1, payload(1))))
    wait_until("Begun", name)
    call.cancel()
    assert call.code() == grpc.StatusCode.CANCELLED
    wait_until("Ended", name)


def cancel_after_first_response():
    requests = Requests()
    name = "cancel_after_first_response"
    answers = duplex_call(iter(requests), metadata=named(name), timeout=WAIT)
    requests.send(message(parameters(31415), (3, payload(27182))))
    assert size_of(next(answers)) == 31415
    answers.cancel()
    assert answers.code() == grpc.StatusCode.CANCELLED
    # While nobody sends anything more.
    wait_until("Ended", name)


def timeout_on_sleeping_server():
    requests = Requests()
    requests.send(message((3, payload(27182))))
    answers = duplex_call(iter(requests), timeout=0.001)
    assert refusal(lambda: list(answers))[0] == grpc.StatusCode.DEADLINE_EXCEEDED
    # That one may have got nowhere; this one has a first answer before its time is over.
    code, timeout = None, 0.5
    while code is None:
        name, requests = f"timeout {timeout}", Requests()
        answers = duplex_call(iter(requests), metadata=named(name), timeout=timeout)
        requests.send(message(parameters(9)))
        timeout *= 2
        try:
            next(answers)
        except grpc.RpcError:
            continue
        code, _ = refusal(lambda: next(answers))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED, code
    wait_until("Ended", name)


def back_pressure():
    """Both sides send far more than any window before the other's is read."""
    count, size = 64, 200_000
    requests = (message(parameters(size), (3, payload(size))) for _ in range(count))
    answers = duplex_call(requests, timeout=2 * WAIT)
    others = [size_of(unary_call(large(), timeout=WAIT)) for _ in range(3)]
    assert others == [314159] * 3
    assert [size_of(answer) for answer in answers] == [size] * count


def many_at_once():
    """More calls than a connection to a server takes streams."""
    sizes = []

    def run():
        sizes.append(size_of(unary_call(large(), timeout=2 * WAIT)))

    threads = [threading.Thread(target=run) for _ in range(80)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sizes == [314159] * 80, sizes


def denied_by_rule():
    call = channel.unary_unary("/denied.Service/Call")
    code, text = refusal(lambda: call(large(), timeout=WAIT))
    assert code == grpc.StatusCode.PERMISSION_DENIED, (code, text)
    assert "100 % no: \u00fcberhaupt nicht" in text, text
    streamed = channel.stream_stream("/denied.Service/Streams")
    code, text = refusal(lambda: list(streamed(iter([large()] * 8), timeout=WAIT)))
    assert code == grpc.StatusCode.PERMISSION_DENIED, (code, text)


def no_rule():
    call = channel_to(REFUSED).unary_unary(SERVICE + "EmptyCall")
    code, text = refusal(lambda: call(b"", timeout=WAIT))
    assert code == grpc.StatusCode.PERMISSION_DENIED and "elsewhere.test" in text, (code, text)


def http_1_only():
    call = channel_to(HTTP1).unary_unary(SERVICE + "EmptyCall")
    code, text = refusal(lambda: call(b"", timeout=WAIT))
    assert code == grpc.StatusCode.UNAVAILABLE and "HTTP/2" in text, (code, text)


for case in sys.argv[1:]:
    globals()[case]()
    print(case, flush=True)
