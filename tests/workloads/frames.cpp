// frames MS: spends MS milliseconds of CPU time below virtual calls, below a deep recursion with
// destructors, and in throwing and catching exceptions.
#include "common.h"
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#define KEEP __asm__ volatile("" : : : "memory")

static uint64_t work_ns;
static uint64_t destroyed;

NOINLINE void work()
{
    spend(work_ns);
    KEEP;
}

struct Shape {
    virtual ~Shape() = default;
    virtual double area(const std::string &name) const = 0;
};

struct Square : Shape {
    NOINLINE double area(const std::string &name) const override
    {
        work();
        KEEP;
        return name.size();
    }
};

struct Circle : Shape {
    NOINLINE double area(const std::string &name) const override
    {
        std::string copy = name + " of a circle";
        work();
        KEEP;
        return copy.size();
    }
};

NOINLINE double total(const std::vector<std::unique_ptr<Shape>> &shapes)
{
    double sum = 0;
    for (const auto &shape : shapes)
        sum += shape->area("the area");
    return sum;
}

struct Guard {
    std::string text = "something that has to be destroyed";
    ~Guard() { destroyed += text.size(); }
};

NOINLINE void deep(int depth)
{
    Guard guard;
    if (depth > 1)
        deep(depth - 1);
    else
        work();
    KEEP;
}

NOINLINE void thrower(int depth)
{
    Guard guard;
    if (depth > 1)
        thrower(depth - 1);
    else
        throw std::runtime_error("thrown from a recursion");
    KEEP;
}

NOINLINE void catcher()
{
    uint64_t end = clock_ns(CLOCK_THREAD_CPUTIME_ID) + 2 * work_ns;
    while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < end)
        try {
            thrower(8);
        } catch (const std::exception &exception) {
            destroyed += std::string(exception.what()).size();
        }
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    work_ns = strtoull(argv[1], nullptr, 10) * 1000000u;
    std::vector<std::unique_ptr<Shape>> shapes;
    shapes.push_back(std::make_unique<Square>());
    shapes.push_back(std::make_unique<Circle>());
    double sum = total(shapes);
    deep(100);
    catcher();
    return sum > 0 && destroyed > 0 ? 0 : 1;
}
