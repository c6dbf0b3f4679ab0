/* A library that a running program loads: its time goes below two functions without frame pointers. */
#include "common.h"

void plugin_outer(uint64_t ns);

NOINLINE void plugin_inner(uint64_t ns)
{
    spend(ns);
    __asm__ volatile("" : : : "memory");
}

NOINLINE void plugin_outer(uint64_t ns)
{
    plugin_inner(ns);
    __asm__ volatile("" : : : "memory");
}
