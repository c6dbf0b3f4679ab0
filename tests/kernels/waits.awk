# From what `waits` says of itself, `FUNCTION WAITS NS`, and the folded stacks of its waits: how far the
# time of a function is off at most, the part of all their time whose stack goes down to the function in
# which a thread begins, both in percent, and whether they are right: 1 % and 99 %.
FNR == NR {
    truth[$1] = $3
    next
}
{
    functions = ";" substr($0, 1, length($0) - length($NF) - 1) ";"
    for (name in truth)
        if (index(functions, ";" name ";")) {
            seen[name] += $NF
            all += $NF
            if (functions ~ /;(main|start_thread);/)
                whole += $NF
        }
}
END {
    for (name in truth) {
        functions_seen++
        error = 100 * (seen[name] - truth[name]) / truth[name]
        if (error < 0)
            error = -error
        if (error > most)
            most = error
    }
    share = all ? 100 * whole / all : 0
    printf "%.2f %.2f %s\n", most, share, (functions_seen == 6 && most <= 1 && share >= 99 ? "yes" : "no")
}
