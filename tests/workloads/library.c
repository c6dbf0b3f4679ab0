/* A shared library with one function that works, compiled with -DWORK=name, between two pieces of
 * text that never run: of BEFORE and of AFTER bytes, each a function of its own by name. */
#include "common.h"

#define TEXT(value) #value
#define UNUSED(name, place, bytes) \
    __asm__(".text\n" \
            ".type " TEXT(name) place ", @function\n" \
            TEXT(name) place ":\n" \
            ".skip " TEXT(bytes) ", 0x90\n" \
            ".size " TEXT(name) place ", . - " TEXT(name) place "\n")

UNUSED(WORK, "_before", BEFORE);

void WORK(uint64_t ns)
{
    spend(ns);
}

UNUSED(WORK, "_after", AFTER);
