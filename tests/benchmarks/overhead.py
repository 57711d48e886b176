"""A study's overhead at 100 and 1,000 instant trials beside plain Ray Tune: python tests/benchmarks/overhead.py"""

import json
import subprocess
import sys

COUNTS = (100, 1000)

if __name__ == "__main__":
    for count in COUNTS:
        # A process of its own for each: Ray is started once a process, and memory is compared from a fresh start.
        command = [sys.executable, "-m", "flowsearch", "bench", "study", "--trials", str(count), "--json"]
        found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()[-1])
        print(json.dumps(found, indent=1))
