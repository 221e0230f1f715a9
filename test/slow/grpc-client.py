"""Reserves and releases credit with code that grpcio-tools made of user.proto. Prints one JSON line for each call.

usage: grpc-client.py GENERATED_DIR HOST:PORT PID USER_ID GOOD_TOKEN STRANGERS_TOKEN

PID is the server's process, which stands still while a call has less time than it may take.
"""

import json
import os
import secrets
import signal
import sys
import time
import uuid

import grpc

generated, host, pid, user_id, token, strangers_token = sys.argv[1:]
sys.path.insert(0, generated)

from google.rpc import error_details_pb2  # noqa: E402
from grpc_status import rpc_status  # noqa: E402
from user.v1 import user_pb2, user_pb2_grpc  # noqa: E402


def new_id():
    """A UUID of version 7, which uuid has from Python 3.14 on."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return str(uuid.UUID(int=value & ~(0xF << 76) & ~(3 << 62) | 7 << 76 | 2 << 62))


def details(error):
    status = rpc_status.from_call(error)
    told = {}
    for detail in status.details if status else []:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            told.update(reason=info.reason, domain=info.domain)
        if detail.Unpack(bad):
            told.update(fields=[violation.field for violation in bad.field_violations])
    return told


def call(name, method, request, token=token, timeout=5, **options):
    metadata = (("authorization", f"Bearer {token}"),)
    try:
        answer = method(request, timeout=timeout, metadata=metadata, **options)
        print(json.dumps({"call": name, "code": "OK", "answer": answer.WhichOneof("answer")}), flush=True)
    except grpc.RpcError as error:
        print(json.dumps({"call": name, "code": error.code().name, **details(error)}), flush=True)


def reservation(amount=100, order_id=None):
    total = user_pb2.Money(amount=amount, currency="EUR")
    return user_pb2.ReserveCreditRequest(order_id=order_id or new_id(), user_id=user_id, total=total)


with grpc.insecure_channel(host) as channel:
    credit = user_pb2_grpc.UserServiceStub(channel)
    order_id = new_id()
    call("reserve", credit.ReserveCredit, reservation(order_id=order_id))
    call("release", credit.ReleaseCredit, user_pb2.ReleaseCreditRequest(order_id=order_id))
    call("reserve what was released", credit.ReserveCredit, reservation(order_id=order_id))
    call("wrong token", credit.ReserveCredit, reservation(), token="wrong")
    call("token of a service without an edge", credit.ReserveCredit, reservation(), token=strangers_token)
    os.kill(int(pid), signal.SIGSTOP)
    call("1 ms", credit.ReserveCredit, reservation(), timeout=0.001)
    os.kill(int(pid), signal.SIGCONT)
    unknown = reservation()
    unknown.MergeFromString(b"\xf8\x3f\x01")
    call("unknown field", credit.ReserveCredit, unknown)
    call("too much", credit.ReserveCredit, reservation(amount=10_000_000))
    call("invalid", credit.ReserveCredit, reservation(amount=-1, order_id="none"))
    call("gzip", credit.ReserveCredit, reservation(order_id="a" * 900), compression=grpc.Compression.Gzip)
