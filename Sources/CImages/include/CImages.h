#ifndef VQA_CIMAGES_H
#define VQA_CIMAGES_H

#include <stddef.h>
#include <stdint.h>

/* Image codecs and the inner loops of resizing, behind plain C functions: no pointer of a codec and no jump
   of its error handling reaches Swift. Every decoder writes 8-bit RGB, three bytes a pixel, rows without
   gaps. */

typedef enum {
    CIMAGES_OK = 0,
    CIMAGES_CORRUPT,     /* the bytes break the format's rules */
    CIMAGES_TRUNCATED,   /* the bytes end too early */
    CIMAGES_UNSUPPORTED, /* a valid file of a sort that is not decoded here */
    CIMAGES_LIMIT,       /* more scans than allowed */
    CIMAGES_MEMORY       /* out of memory */
} cimages_status;

/* What went wrong, as the codec words it; empty when it says nothing. */
typedef struct {
    char text[200];
} cimages_message;

typedef struct {
    uint32_t width;
    uint32_t height;
} cimages_size;

/* Reads the headers only. */
cimages_status cimages_jpeg_size(const uint8_t *bytes, size_t count, cimages_size *size,
                                 cimages_message *message);
cimages_status cimages_png_size(const uint8_t *bytes, size_t count, cimages_size *size,
                                cimages_message *message);
cimages_status cimages_webp_size(const uint8_t *bytes, size_t count, cimages_size *size,
                                 cimages_message *message);

/* Decodes into `rgb`, which holds size.width * size.height * 3 bytes. The size must be the one that the
   functions above returned for the same bytes. With `over_white` pixels that are not opaque are laid over
   white, else alpha is left out. A JPEG of more than `scan_limit` scans stops with CIMAGES_LIMIT. */
cimages_status cimages_jpeg_decode(const uint8_t *bytes, size_t count, cimages_size size, int scan_limit,
                                   uint8_t *rgb, cimages_message *message);
cimages_status cimages_png_decode(const uint8_t *bytes, size_t count, cimages_size size, int over_white,
                                  uint8_t *rgb, cimages_message *message);
cimages_status cimages_webp_decode(const uint8_t *bytes, size_t count, cimages_size size, int over_white,
                                   uint8_t *rgb, cimages_message *message);

/* Encodes 8-bit RGB as a PNG into `bytes` of `*count` bytes and sets `*count` to what was used. `*count` must
   be at least cimages_png_capacity. */
size_t cimages_png_capacity(cimages_size size);
cimages_status cimages_png_encode(const uint8_t *rgb, cimages_size size, uint8_t *bytes, size_t *count,
                                  cimages_message *message);

/* The weights of one axis of a resize: output i is the sum over t < taps of weights[i * taps + t] times the
   input at starts[i] + t, in fixed point with CIMAGES_PRECISION fractional bits. Weights past the filter's
   window are zero. */
#define CIMAGES_PRECISION 22
#define CIMAGES_TAP_GROUP 4

typedef struct {
    const int32_t *starts;
    const int32_t *weights;
    int taps;       /* a multiple of CIMAGES_TAP_GROUP */
    int count;      /* outputs */
    int32_t origin; /* the input that the source of the pass begins with */
} cimages_axis;

/* Horizontal pass: `rows` rows of `in_width` pixels, `stride` bytes apart, become rows of axis.count pixels
   without gaps. `scratch` holds cimages_scratch_size bytes. */
size_t cimages_scratch_size(int in_width, int taps);
void cimages_resize_rows(const uint8_t *source, size_t stride, int in_width, int rows, cimages_axis axis,
                         uint8_t *target, uint8_t *scratch);

/* Vertical pass, output row `index`: `row_bytes` bytes from input rows that are `stride` bytes apart. */
void cimages_resize_column(const uint8_t *source, size_t stride, size_t row_bytes, cimages_axis axis,
                           int index, uint8_t *target);

/* Looks every byte of an RGB row up in the table of its channel (three tables of 256 floats, one after the
   other) and writes the channels to three planes. */
void cimages_lookup_row(const uint8_t *rgb, int width, const float *tables, float *red, float *green,
                        float *blue);

#endif
