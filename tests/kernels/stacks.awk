# Folded stacks of the workload: how many of its samples there are, the shares in percent with the
# exact chain of calls and with a known outermost frame, whether the first is enough, and the sum of
# all that was not lost.
{
    count = $NF
    stack = substr($0, 1, length($0) - length(count) - 1)
}
stack ~ /^\[lost\]/ { next }
{ sum += count }
stack ~ /^workload;/ && stack !~ /^workload(;[^;]*_\[k\])*$/ {
    samples += count
    if (stack !~ /;\[(incomplete|truncated)\]/)
        whole += count
    if (stack ~ /^workload;_start;main;serve;(parse;compute|store;shuffle)(;[^;]*_\[k\])*$/)
        exact += count
    # In one half of them the kernel ran: their registers come from another place.
    if (stack ~ /_\[k\]$/)
        in_kernel += count
}
END {
    enough = exact * 100 >= samples * 99 && samples >= 1000 && in_kernel >= 300 && samples - in_kernel >= 300
    per_cent = samples ? 100 / samples : 0
    printf "%d %.2f %.2f %s %d\n", samples, exact * per_cent, whole * per_cent, enough ? "yes" : "no", sum
}
