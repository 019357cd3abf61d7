"""What every benchmark shares: alternating runs, medians, results.jsonl, the table."""

import json
import pathlib
import platform
import statistics

TOP = pathlib.Path(__file__).resolve().parents[2]
RESULTS = TOP / "build/bench/results.jsonl"


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    cores = sum(line.startswith("processor") for line in open("/proc/cpuinfo"))
    return f"{model}, {cores} cores, Linux {platform.release()}"


def alternate(contenders, runs):
    """Calls each contender's function `runs` times, in turn, and gives {name: {metric: [values]}}."""
    values = {name: {} for name in contenders}
    for number in range(runs):
        print(f"bench: run {number + 1} of {runs}", flush=True)
        for name, function in contenders.items():
            for metric, value in function().items():
                values[name].setdefault(metric, []).append(value)
    return values


def report(bench, units, values, ours="twofold"):
    """Appends one line per metric and peer, and prints the table. `units` maps each metric to its unit."""
    rows = []
    with open(RESULTS, "a") as out:
        for metric, unit in units.items():
            mine = statistics.median(values[ours][metric])
            for peer in values:
                if peer == ours or metric not in values[peer]:
                    continue
                theirs = statistics.median(values[peer][metric])
                row = {"bench": bench, "metric": metric, "unit": unit, "twofold": round(mine, 3), "peer": peer, "peer_value": round(theirs, 3),
                       "ratio": round(mine / theirs, 3) if theirs else None, "runs": len(values[ours][metric]), "host": machine()}
                out.write(json.dumps(row) + "\n")
                rows.append(row)
    print(f"\n{'metric':14} {'unit':12} {'twofold':>12} {'peer':>16} {'peer value':>12} {'ratio':>7}")
    for row in rows:
        print(f"{row['metric']:14} {row['unit']:12} {row['twofold']:12} {row['peer']:>16} {row['peer_value']:12} {row['ratio']:7}")
