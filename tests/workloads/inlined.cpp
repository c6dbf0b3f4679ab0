/* inlined MILLISECONDS: sorts, sums and looks up for that much CPU time, through functions that the
 * compiler inlines several deep: templates, lambdas, operators, and those of the standard library. */
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <numeric>
#include <string>
#include <unordered_map>
#include <vector>

namespace {
template <class Number> struct Sum {
    Number total{};
    Sum &operator<<(Number const &number)
    {
        total = total * 31 + number;
        return *this;
    }
};

struct Less {
    bool operator()(unsigned long a, unsigned long b) const { return a % 10007 < b % 10007; }
};

inline unsigned long step(unsigned long seed) { return seed * 6364136223846793005u + 1; }
} // namespace

namespace work {
template <class Number, class Change> inline void change(std::vector<Number> &numbers, Change how)
{
    for (auto &number : numbers)
        number = how(number);
}

__attribute__((noinline)) unsigned long round(std::vector<unsigned long> &numbers,
                                              unsigned long seed)
{
    change(numbers, [&seed](unsigned long number) { return number ^ (seed = step(seed)); });
    std::sort(numbers.begin(), numbers.end(), Less());
    Sum<unsigned long> sum;
    for (auto number : numbers)
        sum << number;
    std::unordered_map<std::string, unsigned long> counts;
    for (auto number : numbers)
        counts[std::to_string(number % 100)] += number;
    return std::accumulate(counts.begin(), counts.end(), sum.total,
                           [](unsigned long total, auto const &pair) { return total ^ pair.second; });
}
} // namespace work

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    clock_t end = clock() + std::atol(argv[1]) * (CLOCKS_PER_SEC / 1000);
    std::vector<unsigned long> numbers(5000);
    unsigned long total = 0;
    while (clock() < end)
        total += work::round(numbers, total + 1);
    std::printf("%lu\n", total);
}
