// Memory that may fault, for tests.
#pragma once

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

void catch_faults(void);

// letter returns what a block is full of: a letter, '.' for zeros, '?' for several bytes, '!'
// if it faults.
char letter(const char *block, size_t size);
