"""The side of a peer: shows what it computes, then runs one round for every line of input and answers with its seconds
by the clock and of the processor, and the bytes that were in memory at most so far.
"""

import json
import resource
import sys
import time


def serve(outputs, round):
    print(json.dumps(outputs), flush=True)
    for _ in sys.stdin:
        start, before = time.perf_counter(), time.process_time()
        round()
        seconds, processor = time.perf_counter() - start, time.process_time() - before
        print(seconds, processor, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)
