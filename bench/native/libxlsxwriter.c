/* Arrow columns to a workbook with libxlsxwriter in constant-memory mode. */
#include <stdlib.h>
#include <string.h>
#include <xlsxwriter.h>

#include "columns.h"

typedef struct {
    char *room;  /* libxlsxwriter requires NUL-terminated texts, Arrow's are not */
    size_t size;
} buffer;

static lxw_error write_text(lxw_worksheet *sheet, lxw_row_t row, lxw_col_t at, const column *from, int64_t i, buffer *text) {
    size_t length = from->offsets[i + 1] - from->offsets[i];
    if (length + 1 > text->size) {
        char *larger = realloc(text->room, length * 2 + 1);
        if (larger == NULL) return LXW_ERROR_MEMORY_MALLOC_FAILED;
        *text = (buffer){larger, length * 2 + 1};
    }
    memcpy(text->room, (const char *)from->values + from->offsets[i], length);
    text->room[length] = 0;
    return worksheet_write_string(sheet, row, at, text->room, NULL);
}

static lxw_error write_cell(lxw_worksheet *sheet, lxw_col_t at, const column *from, int64_t i, lxw_format *date, buffer *text) {
    lxw_row_t row = i + 1;
    switch (from->kind) {
        case 'i': return worksheet_write_number(sheet, row, at, ((const int64_t *)from->values)[i], NULL);
        case 'f': return worksheet_write_number(sheet, row, at, ((const double *)from->values)[i], NULL);
        case 't': return worksheet_write_number(sheet, row, at, ((const double *)from->values)[i], date);
        case 'b': return worksheet_write_boolean(sheet, row, at, bit(from->values, i), NULL);
        default: return write_text(sheet, row, at, from, i, text);
    }
}

/* NULL, or what went wrong. */
const char *write_columns(const char *path, const column *columns, int count, int64_t rows, const char *dates) {
    lxw_workbook_options options = {.constant_memory = LXW_TRUE, .use_zip64 = LXW_TRUE};
    lxw_workbook *book = workbook_new_opt(path, &options);
    lxw_worksheet *sheet = workbook_add_worksheet(book, NULL);
    lxw_format *date = workbook_add_format(book);
    lxw_error error = LXW_NO_ERROR;
    buffer text = {NULL, 0};
    format_set_num_format(date, dates);
    for (int at = 0; at < count && !error; at++)
        error = worksheet_write_string(sheet, 0, at, columns[at].name, NULL);
    for (int64_t i = 0; i < rows && !error; i++)
        for (int at = 0; at < count && !error; at++)
            if (columns[at].valid == NULL || bit(columns[at].valid, i))
                error = write_cell(sheet, at, &columns[at], i, date, &text);
    free(text.room);
    lxw_error closed = workbook_close(book);
    if (!error) error = closed;
    return error ? lxw_strerror(error) : NULL;
}
