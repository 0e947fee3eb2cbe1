"""What runs beside a measurement, for the reader of its figures: CPU of processes, and the share of the machine that strangers used."""

import os
import subprocess

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids):
    """User and system time of processes and of those that they have started, and of whom they have buried."""
    total = 0.0
    tree = subprocess.run(["ps", "-eo", "pid=,ppid="], stdout=subprocess.PIPE, check=True).stdout.split()
    parents = dict(zip(map(int, tree[::2]), map(int, tree[1::2])))
    wanted, grown = set(pids), True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in wanted} - wanted
        wanted |= more
        grown = bool(more)
    for pid in wanted:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stream:
                fields = stream.read().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15])) / TICKS
        except OSError:
            pass
    return total


def machine():
    """(busy, all) seconds of the processors since the start."""
    with open("/proc/stat", encoding="ascii") as stream:
        user, nice, system, idle, iowait, irq, softirq = map(int, stream.readline().split()[1:8])
    busy = user + nice + system + irq + softirq
    return busy / TICKS, (busy + idle + iowait) / TICKS


class Strangers:
    """Percent of the machine used by what is neither this script nor its children, since it was made. A little of it
    (interrupts, the kernel's threads) is ours all the same."""

    def __init__(self):
        self.before = machine(), cpu_seconds([os.getpid()])

    def percent(self):
        (busy, whole), own = machine(), cpu_seconds([os.getpid()])
        (busy_then, whole_then), own_then = self.before
        return max(0.0, 100 * (busy - busy_then - own + own_then) / max(whole - whole_then, 1 / TICKS))
