"""Minutes of calls over gRPC and REST, with batching and three swaps: no error, and memory stays flat."""

import os
import pathlib
import shutil
import threading
import time

import grpc
import pytest
import toy

from serving.server import EmbeddedServer

SECONDS = 300
PAUSE_SECONDS = 0.005
GROWTH_MIB = 64  # allowed after the first swap, of a process that takes some 600 MiB


def resident_mib() -> float:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="memory is read from Linux' /proc")
def test_soak(tmp_path, toy_versions):
    shutil.copytree(toy_versions / "1", tmp_path / "toy" / "1")
    parameters = tmp_path / "batching.txt"
    parameters.write_text("max_batch_size { value: 8 } batch_timeout_micros { value: 1000 }")
    stop = threading.Event()
    served, failed = {"grpc": 0, "rest": 0}, []
    with EmbeddedServer(
        tmp_path / "toy",
        0,
        model_name=toy.NAME,
        rest_port=0,
        poll_seconds=0.1,
        batching_parameters_file=parameters,
    ) as server:

        def ask(kind: str) -> None:
            with grpc.insecure_channel(server.address) as channel:
                stub = toy.stub(channel)
                while not stop.is_set():
                    try:
                        if kind == "grpc":
                            factor = toy.y(stub.Predict(toy.scaling([2.0]), timeout=30))[0][0] / 2
                        else:
                            _, answer = toy.http(server.rest_address, "/v1/models/toy:predict", {"instances": [[1]]})
                            factor = answer["predictions"][0][0]
                        assert factor in (1, 2, 3)
                        served[kind] += 1
                    except Exception as error:
                        failed.append(error)
                    time.sleep(PAUSE_SECONDS)

        threads = [threading.Thread(target=ask, args=(kind,)) for kind in ("grpc", "grpc", "rest")]
        for thread in threads:
            thread.start()
        memory = []
        for swap in range(4):
            time.sleep(SECONDS / 4)
            memory.append(resident_mib())
            if swap < 3:
                number = swap + 2
                copy = tmp_path / f".{number}"
                shutil.copytree(toy_versions / str(1 + number % 3), copy)
                copy.rename(tmp_path / "toy" / str(number))
        stop.set()
        for thread in threads:
            thread.join()
        assert server.version == 4
        assert server.metrics.value("hrlrec_serving_swaps_total", model=toy.NAME) == 3
    print(f"served {served}, memory {[round(value) for value in memory]} MiB")
    assert not failed and min(served.values()) > 100
    assert memory[-1] - memory[1] < GROWTH_MIB
