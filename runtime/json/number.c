/* See number.h. The common cases are exact in plain double arithmetic; libc does the rest, in the C
 * locale, because a script may have called os.setlocale(). */
#include "json/number.h"

#include <assert.h>
#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* The powers of ten that are exact in a double. */
static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
enum { EXACT_POWER = 22 };

/* "C" is static in libc: nothing is allocated and nothing to free. */
static locale_t c_locale(void) {
    return newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

static double slow_read(struct evrt_slice text) {
    char small[64];
    char *copy = text.n < sizeof small ? small : evrt_alloc(text.n + 1);
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    double d = strtod_l(copy, NULL, c_locale());
    if (copy != small) free(copy);
    return d;
}

/* What the text says, as far as 64 bits hold it: mantissa * 10^exponent. */
struct decimal {
    uint64_t mantissa;
    long exponent;
    bool negative, integer, overflow; /* overflow: the digits are not all in mantissa */
};

static const char *read_digits(const char *p, const char *end, struct decimal *d) {
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        unsigned digit = (unsigned)(*p - '0');
        uint64_t next;
        if (__builtin_mul_overflow(d->mantissa, 10u, &next) ||
            __builtin_add_overflow(next, digit, &next))
            d->overflow = true;
        d->mantissa = next;
    }
    return p;
}

static void read_decimal(struct evrt_slice text, struct decimal *d) {
    const char *p = text.p, *end = p + text.n;
    *d = (struct decimal){.negative = *p == '-', .integer = true};
    p = read_digits(p + d->negative, end, d);
    if (p < end && *p == '.') {
        const char *after = read_digits(p + 1, end, d);
        d->exponent = -(after - p - 1);
        d->integer = false;
        p = after;
    }
    if (p == end) return;
    d->integer = false; /* an 'e' */
    long e = 0;
    bool down = ++p < end && *p == '-';
    for (p += p < end && (*p == '-' || *p == '+'); p < end && *p >= '0' && *p <= '9'; p++)
        if (e < 100000) e = e * 10 + (*p - '0');
    d->exponent += down ? -e : e;
}

static double read_double(struct evrt_slice text, const struct decimal *d) {
    if (d->overflow || d->mantissa > EVRT_JSON_SAFE_INTEGER || d->exponent < -EXACT_POWER ||
        d->exponent > EXACT_POWER)
        return slow_read(text);
    /* Both operands are exact, so one rounding, the right one, happens. */
    double m = (double)d->mantissa;
    m = d->exponent < 0 ? m / powers[-d->exponent] : m * powers[d->exponent];
    return d->negative ? -m : m;
}

void evrt_json_number_read(struct evrt_slice text, struct evrt_json_number *out) {
    struct decimal d;
    read_decimal(text, &d);
    out->d = read_double(text, &d);
    out->kind = EVRT_JSON_DOUBLE;
    if (!d.integer || (!d.overflow && d.mantissa <= EVRT_JSON_SAFE_INTEGER)) return;
    uint64_t limit = (uint64_t)INT64_MAX + d.negative;
    if (!d.overflow && d.mantissa <= limit) {
        out->kind = EVRT_JSON_INT64;
        out->u = d.negative ? -d.mantissa : d.mantissa;
    } else if (!d.overflow && !d.negative) {
        out->kind = EVRT_JSON_UINT64;
        out->u = d.mantissa;
    } else {
        out->kind = EVRT_JSON_BIG;
    }
}

static size_t write_integer(char *out, uint64_t v) {
    char digits[20];
    size_t n = 0;
    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    for (size_t i = 0; i < n; i++)
        out[i] = digits[n - 1 - i];
    return n;
}

/* v (positive, below 2^53) as an integer m over a small power of ten: when m / 10^k is v, the decimal
 * m * 10^-k reads back as v, and the first k that does so has the fewest digits. 0: none found. */
static size_t write_short(char *out, double v) {
    for (int k = 1; k <= 9; k++) {
        double m = rint(v * powers[k]);
        if (m > (double)EVRT_JSON_SAFE_INTEGER) return 0;
        if (m / powers[k] != v) continue;
        uint64_t scaled = (uint64_t)m, unit = (uint64_t)powers[k], fraction = scaled % unit;
        size_t n = write_integer(out, scaled / unit);
        out[n++] = '.';
        for (int i = k; i-- > 0; fraction /= 10)
            out[n + (size_t)i] = (char)('0' + fraction % 10);
        return n + (size_t)k;
    }
    return 0;
}

/* libc, with as many digits as it takes; 17 always do. */
static size_t write_slow(char *out, double v) {
    locale_t c = c_locale(), before = uselocale(c);
    int n = 0;
    for (int digits = 15; digits <= 17; digits++) {
        n = snprintf(out, EVRT_JSON_NUMBER_SIZE - 2, "%.*g", digits, v);
        if (strtod(out, NULL) == v) break;
    }
    uselocale(before);
    /* Digits alone would read back as an integer of 64 bits. */
    if (strpbrk(out, ".e") == NULL) {
        memcpy(out + n, ".0", 3);
        n += 2;
    }
    return (size_t)n;
}

size_t evrt_json_number_write(char out[EVRT_JSON_NUMBER_SIZE], double v) {
    assert(isfinite(v));
    size_t sign = signbit(v) != 0;
    double size = fabs(v);
    out[0] = '-';
    if (size == 0 && sign) { /* "-0" is 0 to readers that have integers */
        memcpy(out, "-0.0", 4);
        return 4;
    }
    if (size <= (double)EVRT_JSON_SAFE_INTEGER && size == (double)(uint64_t)size)
        return sign + write_integer(out + sign, (uint64_t)size);
    size_t n = size >= 1e-5 && size < 1e15 ? write_short(out + sign, size) : 0;
    return n != 0 ? sign + n : write_slow(out, v);
}
