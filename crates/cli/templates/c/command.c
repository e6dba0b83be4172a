// Writes its input in upper case.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

// Whether the bytes are UTF-8 (RFC 3629).
static bool is_utf8(const uint8_t *at, size_t len) {
    for (size_t i = 0; i < len;) {
        uint8_t first = at[i++];
        size_t more = first < 0x80 ? 0 : first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
        if ((first >= 0x80 && first < 0xc2) || first > 0xf4 || len - i < more) return false;
        for (size_t n = 0; n < more; n++, i++) {
            uint8_t low = 0x80, high = 0xbf;
            if (n == 0 && first == 0xe0) low = 0xa0;
            if (n == 0 && first == 0xed) high = 0x9f;
            if (n == 0 && first == 0xf0) low = 0x90;
            if (n == 0 && first == 0xf4) high = 0x8f;
            if (at[i] < low || at[i] > high) return false;
        }
    }
    return true;
}

int main(void) {
    size_t len = 0, capacity = 0;
    uint8_t *content = NULL;
    do {
        capacity = capacity == 0 ? 65536 : 2 * capacity;
        content = realloc(content, capacity);
        if (content == NULL) abort();
        len += fread(content + len, 1, capacity - len, stdin);
    } while (len == capacity);
    if (!is_utf8(content, len)) {
        fputs("the input is not UTF-8 text\n", stderr);
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < len; i++)
        if (content[i] >= 'a' && content[i] <= 'z') content[i] -= 'a' - 'A';
    bool is_written = fwrite(content, 1, len, stdout) == len && fflush(stdout) == 0;
    return is_written ? EXIT_SUCCESS : EXIT_FAILURE;
}
