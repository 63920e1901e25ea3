/*
 * Makes every fdatasync and fsync of a program take longer, as on a slower disk:
 * loaded before the C library by scripts/bench-peers.sh, into the programs of both
 * sides alike. The delay, in microseconds, is in SLOW_FLUSH_US.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static void wait_a_little(void) {
    const char *text = getenv("SLOW_FLUSH_US");
    long us = text ? atol(text) : 0;
    struct timespec left = {us / 1000000, us % 1000000 * 1000};
    while (us > 0 && nanosleep(&left, &left) != 0) {
        /* A signal has come in between; what is left is waited for. */
    }
}

static int slowly(const char *name, int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    wait_a_little();
    return real(file);
}

int fdatasync(int file) { return slowly("fdatasync", file); }

int fsync(int file) { return slowly("fsync", file); }
