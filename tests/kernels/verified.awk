# Prints the verified instructions beside those that were blessed; the status is 1 where a count grew
# by more than a quarter. Both files have lines such as `6.1 x86_64 on_cpu 75011`, the blessed ones
# come first. A kernel of which nothing was blessed is not compared.
/^#/ { next }
FILENAME == ARGV[1] {
    blessed[$1, $2, $3] = $4
    is_known[$1, $2] = 1
    next
}
FNR == 1 { printf "%-7s %-8s %-14s %8s %8s\n", "kernel", "arch", "program", "verified", "blessed" }
{
    before = blessed[$1, $2, $3]
    remark = ""
    if (before == "" && is_known[$1, $2])
        remark = "  new: bless it"
    if (before != "" && $4 * 4 > before * 5)
        remark = "  more than a quarter above what was blessed"
    if (remark != "")
        failed = 1
    printf "%-7s %-8s %-14s %8d %8s%s\n", $1, $2, $3, $4, before == "" ? "-" : before, remark
}
END { exit failed }
