# The ledger of `timesink record -v`: says whether it adds up, with itself and with the profile, whose
# samples without the lost ones are given as `profile`.
match($0, /^ *[0-9]+  /) {
    count = $1
    rest = substr($0, RLENGTH + 1)
    name = substr(rest, 1, index(rest, "  ") - 1)
    rows[name] = count
    # First comes what was expected, then what became of it, then how the stacks ended.
    if (rest ~ /user stacks that ended so:/) {
        is_tick = 0
        ends += count
    }
    if (is_tick)
        ticks += count
    if (name == "expected")
        is_tick = 1
}
END {
    # The clocks are read one after another, so a CPU's count may be a tick off.
    off = rows["expected"] - ticks
    if (rows["expected"] == 0 || off > 8 || off < -8)
        print "of " rows["expected"] + 0 " expected samples, " ticks + 0 " are accounted for"
    else if (rows["sampled"] != profile)
        print rows["sampled"] + 0 " samples were taken, and " profile " are in the profile"
    else if (rows["sampled"] != ends)
        print rows["sampled"] + 0 " samples were taken, and " ends + 0 " stacks ended"
    else if (rows["scratch busy"] + rows["count map full"] + rows["stack not sent"] > 0)
        print "samples were lost without need"
    else
        print "adds up"
}
