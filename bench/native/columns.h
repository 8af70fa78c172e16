/* The input of a native writer: the memory of Arrow arrays in their columnar layout. */
#include <stdint.h>

typedef struct {
    char kind;               /* i int64, f double, t double that is a date of Excel, b bits, s UTF-8 by offsets */
    const char *name;
    const uint8_t *valid;    /* one bit a row, or NULL if every row has a value */
    const int32_t *offsets;  /* rows + 1, of kind s */
    const void *values;
} column;

static inline int bit(const uint8_t *bits, int64_t at) { return bits[at >> 3] >> (at & 7) & 1; }
