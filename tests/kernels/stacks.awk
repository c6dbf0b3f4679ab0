# Folded stacks of a workload: how many of its samples there are, the shares in percent with an exact
# chain of calls and with a known outermost frame, whether the first is enough, and the sum of all that
# was not lost. The program is `workload`, `own` a pattern of its functions, `right` is what its chains are
# like, and `leaves` are ends of them, patterns with blanks between.
BEGIN {
    leaf_count = split(leaves, leaf, " ")
    exactly = "^" workload ";" right "(;[^;]*_[[]k[]])*$"
    nothing = "^" workload "(;[^;]*_[[]k[]])*$"
}
{
    count = $NF
    stack = substr($0, 1, length($0) - length(count) - 1)
}
stack ~ /^\[lost\]/ { next }
{ sum += count }
# Libc's own start and end, which take their time where QEMU has to translate them.
index(stack, workload ";_start;__libc_start_main") == 1 && stack !~ own { next }
# In `execve` the workload has its name and not its code yet; without user frames it is being taken down.
index(stack, workload ";") == 1 && stack !~ /execve_\[k\]/ && stack !~ nothing {
    samples += count
    if (stack !~ /;\[(incomplete|truncated)\]/)
        whole += count
    if (stack ~ exactly)
        exact += count
    for (at = 1; at <= leaf_count; at++)
        if (stack ~ leaf[at])
            reached[at] += count
}
END {
    # The functions above the leaves take little time.
    each = samples >= 300
    for (at = 1; at <= leaf_count; at++) {
        at_leaves += reached[at]
        each = each && reached[at] * 20 >= samples
    }
    right_enough = exact * 100 >= samples * 99 && whole * 100 >= samples * 99
    enough = right_enough && at_leaves * 100 >= samples * 80 && each
    per_cent = samples ? 100 / samples : 0
    printf "%d %.2f %.2f %s %d\n", samples, exact * per_cent, whole * per_cent, enough ? "yes" : "no", sum
}
