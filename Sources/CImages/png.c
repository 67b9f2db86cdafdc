#include "CImages.h"
#include "blend.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <png.h>

/* One reading of a PNG: the bytes, how far they are read, and what turns a row of its samples into RGB. */
typedef struct {
    const uint8_t *bytes;
    size_t count;
    size_t offset;
    cimages_message *message;
    cimages_status status;

    int color_type;
    int bit_depth;
    int over_white;
    /* Red, green, blue, alpha of every palette index. Indices past the palette are opaque black, as in
       Pillow. */
    uint8_t palette[256][4];
    /* The colour that a tRNS chunk makes transparent in images without alpha and without palette. */
    int has_key;
    uint8_t key[3];
} reading;

/* libpng's error function must not return. */
static void on_error(png_structp codec, png_const_charp text) {
    reading *work = png_get_error_ptr(codec);
    if (work->status == CIMAGES_OK) {
        work->status = CIMAGES_CORRUPT;
        snprintf(work->message->text, sizeof work->message->text, "%s", text);
    }
    png_longjmp(codec, 1);
}

static void on_warning(png_structp codec, png_const_charp text) {
    (void)codec;
    (void)text;
}

static void read_bytes(png_structp codec, png_bytep target, size_t count) {
    reading *work = png_get_io_ptr(codec);
    if (count > work->count - work->offset) {
        work->status = CIMAGES_TRUNCATED;
        png_error(codec, "the data ends too early");
    }
    memcpy(target, work->bytes + work->offset, count);
    work->offset += count;
}

/* Writes one pixel, laid over white when that is wanted and it is not opaque. */
static inline void put(const reading *work, uint8_t *rgb, uint8_t red, uint8_t green, uint8_t blue,
                       uint8_t alpha) {
    if (work->over_white && alpha != 255) {
        red = over_white_channel(red, alpha);
        green = over_white_channel(green, alpha);
        blue = over_white_channel(blue, alpha);
    }
    rgb[0] = red;
    rgb[1] = green;
    rgb[2] = blue;
}

static inline uint8_t key_alpha(const reading *work, uint8_t red, uint8_t green, uint8_t blue) {
    return work->has_key && red == work->key[0] && green == work->key[1] && blue == work->key[2] ? 0 : 255;
}

/* A grey sample of `bytes` bytes as 8 bits. Pillow keeps 16-bit grey as integers and clips them; it does not
   scale. */
static inline uint8_t grey_value(const reading *work, const uint8_t *sample) {
    switch (work->bit_depth) {
    case 16: return sample[0] != 0 ? 255 : sample[1];
    case 4: return (uint8_t)(sample[0] * 17);
    case 2: return (uint8_t)(sample[0] * 85);
    case 1: return sample[0] ? 255 : 0;
    default: return sample[0];
    }
}

/* Turns pixel `x` of a row of samples into RGB. Of 16-bit colour and of 16-bit grey with alpha the high byte
   counts. */
static inline void convert_pixel(const reading *work, const uint8_t *row, uint8_t *rgb, size_t x,
                                 size_t sample) {
    switch (work->color_type) {
    case PNG_COLOR_TYPE_PALETTE: {
        const uint8_t *entry = work->palette[row[x]];
        put(work, rgb + 3 * x, entry[0], entry[1], entry[2], entry[3]);
        break;
    }
    case PNG_COLOR_TYPE_GRAY: {
        uint8_t grey = grey_value(work, row + x * sample);
        put(work, rgb + 3 * x, grey, grey, grey, key_alpha(work, grey, grey, grey));
        break;
    }
    case PNG_COLOR_TYPE_GRAY_ALPHA: {
        const uint8_t *pixel = row + 2 * sample * x;
        put(work, rgb + 3 * x, pixel[0], pixel[0], pixel[0], pixel[sample]);
        break;
    }
    case PNG_COLOR_TYPE_RGB: {
        const uint8_t *pixel = row + 3 * sample * x;
        uint8_t red = pixel[0], green = pixel[sample], blue = pixel[2 * sample];
        put(work, rgb + 3 * x, red, green, blue, key_alpha(work, red, green, blue));
        break;
    }
    default: {
        const uint8_t *pixel = row + 4 * sample * x;
        put(work, rgb + 3 * x, pixel[0], pixel[sample], pixel[2 * sample], pixel[3 * sample]);
    }
    }
}

/* libpng calls this for every row, after unpacking samples of less than a byte; it works in place, so a row
   that grows is walked from its end. */
static void convert_row(png_structp codec, png_row_infop info, png_bytep row) {
    const reading *work = png_get_user_transform_ptr(codec);
    size_t sample = work->bit_depth == 16 ? 2 : 1;
    size_t width = info->width;
    if (info->channels * sample < 3) {
        for (size_t x = width; x-- > 0;) convert_pixel(work, row, row, x, sample);
    } else {
        for (size_t x = 0; x < width; x++) convert_pixel(work, row, row, x, sample);
    }
}

static void take_palette(reading *work, png_structp codec, png_infop info) {
    for (int i = 0; i < 256; i++) work->palette[i][3] = 255;
    png_colorp colors;
    int count = 0;
    if (png_get_PLTE(codec, info, &colors, &count) != 0) {
        for (int i = 0; i < count && i < 256; i++) {
            work->palette[i][0] = colors[i].red;
            work->palette[i][1] = colors[i].green;
            work->palette[i][2] = colors[i].blue;
        }
    }
}

/* Pillow compares the low byte of the key with the 8-bit image. */
static void take_transparency(reading *work, png_structp codec, png_infop info) {
    png_bytep alphas = NULL;
    int count = 0;
    png_color_16p key = NULL;
    if (png_get_tRNS(codec, info, &alphas, &count, &key) == 0) return;
    if (work->color_type == PNG_COLOR_TYPE_PALETTE) {
        for (int i = 0; i < count && i < 256 && alphas; i++) work->palette[i][3] = alphas[i];
    } else if (key) {
        work->has_key = 1;
        int is_grey = work->color_type == PNG_COLOR_TYPE_GRAY;
        int grey = work->bit_depth == 1 ? (key->gray ? 255 : 0) : key->gray;
        work->key[0] = (uint8_t)(is_grey ? grey : key->red);
        work->key[1] = (uint8_t)(is_grey ? grey : key->green);
        work->key[2] = (uint8_t)(is_grey ? grey : key->blue);
    }
}

static void begin(reading *work, png_structp codec, png_infop info) {
    png_set_read_fn(codec, work, read_bytes);
    /* A wrong checksum is an error in every chunk, and chunks that do not change pixels are not unpacked. */
    png_set_crc_action(codec, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_keep_unknown_chunks(codec, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    /* The caller's limits decide; libpng's own of a million pixels a side would hide them. */
    png_set_user_limits(codec, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_read_info(codec, info);
    work->color_type = png_get_color_type(codec, info);
    work->bit_depth = png_get_bit_depth(codec, info);
}

static void decode_rows(reading *work, png_structp codec, png_infop info, cimages_size size, uint8_t *rgb) {
    if (png_get_image_width(codec, info) != size.width || png_get_image_height(codec, info) != size.height) {
        png_error(codec, "the size changed");
    }
    take_palette(work, codec, info);
    take_transparency(work, codec, info);
    int is_plain = work->color_type == PNG_COLOR_TYPE_RGB && work->bit_depth == 8;
    if (!is_plain || (work->over_white && work->has_key)) {
        png_set_packing(codec);
        png_set_read_user_transform_fn(codec, convert_row);
        png_set_user_transform_info(codec, work, 8, 3);
    }
    int passes = png_set_interlace_handling(codec);
    png_read_update_info(codec, info);
    size_t row_bytes = (size_t)size.width * 3;
    if (png_get_rowbytes(codec, info) != row_bytes) png_error(codec, "an unexpected length of a row");
    for (int pass = 0; pass < passes; pass++) {
        for (uint32_t y = 0; y < size.height; y++) png_read_row(codec, rgb + y * row_bytes, NULL);
    }
    png_read_end(codec, NULL);
}

typedef void (*step)(reading *, png_structp, png_infop, cimages_size *, uint8_t *);

static void size_step(reading *work, png_structp codec, png_infop info, cimages_size *size, uint8_t *rgb) {
    (void)rgb;
    begin(work, codec, info);
    size->width = png_get_image_width(codec, info);
    size->height = png_get_image_height(codec, info);
}

static void decode_step(reading *work, png_structp codec, png_infop info, cimages_size *size, uint8_t *rgb) {
    begin(work, codec, info);
    decode_rows(work, codec, info, *size, rgb);
}

/* Runs `body` with a codec whose errors come back here. */
static cimages_status run(reading *work, step body, cimages_size *size, uint8_t *rgb) {
    work->message->text[0] = 0;
    png_structp codec = png_create_read_struct(PNG_LIBPNG_VER_STRING, work, on_error, on_warning);
    if (!codec) return CIMAGES_MEMORY;
    png_infop info = png_create_info_struct(codec);
    if (!info) {
        png_destroy_read_struct(&codec, NULL, NULL);
        return CIMAGES_MEMORY;
    }
    if (setjmp(png_jmpbuf(codec)) == 0) body(work, codec, info, size, rgb);
    png_destroy_read_struct(&codec, &info, NULL);
    return work->status;
}

cimages_status cimages_png_size(const uint8_t *bytes, size_t count, cimages_size *size,
                                cimages_message *message) {
    reading work = {.bytes = bytes, .count = count, .message = message};
    return run(&work, size_step, size, NULL);
}

cimages_status cimages_png_decode(const uint8_t *bytes, size_t count, cimages_size size, int over_white,
                                  uint8_t *rgb, cimages_message *message) {
    reading work = {.bytes = bytes, .count = count, .message = message, .over_white = over_white};
    return run(&work, decode_step, &size, rgb);
}

static png_image description(cimages_size size) {
    png_image image;
    memset(&image, 0, sizeof image);
    image.version = PNG_IMAGE_VERSION;
    image.width = size.width;
    image.height = size.height;
    image.format = PNG_FORMAT_RGB;
    return image;
}

size_t cimages_png_capacity(cimages_size size) {
    png_image image = description(size);
    return PNG_IMAGE_PNG_SIZE_MAX(image);
}

cimages_status cimages_png_encode(const uint8_t *rgb, cimages_size size, uint8_t *bytes, size_t *count,
                                  cimages_message *message) {
    png_image image = description(size);
    message->text[0] = 0;
    png_alloc_size_t used = *count;
    if (!png_image_write_to_memory(&image, bytes, &used, 0, rgb, 0, NULL)) {
        snprintf(message->text, sizeof message->text, "%s", image.message);
        return CIMAGES_MEMORY;
    }
    *count = used;
    return CIMAGES_OK;
}
