# Folded stacks of the workload: how many of its samples there are, the shares in percent with an exact
# chain of calls and with a known outermost frame, whether the first is enough, and the sum of all that
# was not lost.
{
    count = $NF
    stack = substr($0, 1, length($0) - length(count) - 1)
}
stack ~ /^\[lost\]/ { next }
{ sum += count }
# In `execve` the workload has its name and not its code yet; without user frames it is being taken down.
stack ~ /^workload;/ && stack !~ /execve_\[k\]/ && stack !~ /^workload(;[^;]*_\[k\])*$/ {
    samples += count
    if (stack !~ /;\[(incomplete|truncated)\]/)
        whole += count
    if (stack ~ /^workload;_start(;main(;serve(;parse(;compute)?|;store(;shuffle)?)?)?)?(;[^;]*_\[k\])*$/)
        exact += count
    if (stack ~ /;parse;compute/)
        computing += count
    # Here the kernel runs nearly always, and the user registers come from another place.
    if (stack ~ /;store;shuffle;.*_\[k\]$/)
        shuffling += count
}
END {
    # The functions above the leaves take next to no time.
    at_leaves = (computing + shuffling) * 100 >= samples * 95 && computing >= 300 && shuffling >= 300
    enough = exact * 100 >= samples * 99 && at_leaves
    per_cent = samples ? 100 / samples : 0
    printf "%d %.2f %.2f %s %d\n", samples, exact * per_cent, whole * per_cent, enough ? "yes" : "no", sum
}
