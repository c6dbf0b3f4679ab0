# From what `waits` says of itself, `FUNCTION WAITS NS NS-ON-CPU`, and the folded stacks of its waits: how
# far the time of a function is off at most, the part of all their time whose stack goes down to the
# function in which a thread begins, both in percent, and whether they are right: `bound` and 99 %.
#
# Where each instruction is computed, the scheduler itself takes a part of the time that counts, and
# begins a thread's CPU time before the switch to it is told: the truth lies between the time with and
# without what the calls took of the CPU. Interrupts are in neither, and there they take long too.
FNR == NR {
    most_ns[$1] = $3
    least_ns[$1] = $3 - $4
    next
}
{
    functions = ";" substr($0, 1, length($0) - length($NF) - 1) ";"
    for (name in most_ns)
        if (index(functions, ";" name ";")) {
            seen[name] += $NF
            all += $NF
            if (functions ~ /;(main|start_thread);/)
                whole += $NF
        }
}
END {
    for (name in most_ns) {
        count++
        off = 0
        if (seen[name] > most_ns[name])
            off = seen[name] - most_ns[name]
        if (seen[name] < least_ns[name])
            off = least_ns[name] - seen[name]
        error = 100 * off / most_ns[name]
        if (error > most)
            most = error
    }
    share = all ? 100 * whole / all : 0
    printf "%.2f %.2f %s\n", most, share, (count == 6 && most <= bound && share >= 99 ? "yes" : "no")
}
