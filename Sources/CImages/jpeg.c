#include "CImages.h"
#include "blend.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

/* One decompression. libjpeg reports errors by calling error_exit, which must not return: it jumps back to
   the function that set `escape`. */
typedef struct {
    struct jpeg_decompress_struct codec;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    cimages_message *message;
    cimages_status status;
    int scan_limit;
} decompression;

static void stop(decompression *work, cimages_status status) {
    work->status = status;
    longjmp(work->escape, 1);
}

static void on_error(j_common_ptr codec) {
    decompression *work = codec->client_data;
    char text[JMSG_LENGTH_MAX];
    codec->err->format_message(codec, text);
    snprintf(work->message->text, sizeof work->message->text, "%s", text);
    switch (codec->err->msg_code) {
    case JERR_OUT_OF_MEMORY: stop(work, CIMAGES_MEMORY); break;
    case JERR_INPUT_EMPTY:
    case JERR_INPUT_EOF:
    case JWRN_JPEG_EOF: stop(work, CIMAGES_TRUNCATED); break;
    case JERR_BAD_PRECISION:
    case JERR_SOF_UNSUPPORTED:
    case JERR_ARITH_NOTIMPL:
    case JERR_NOT_COMPILED:
    case JERR_CONVERSION_NOTIMPL: stop(work, CIMAGES_UNSUPPORTED); break;
    default: stop(work, CIMAGES_CORRUPT);
    }
}

/* Called for warnings (level -1) and trace messages. libjpeg goes on after damaged data and invents grey
   pixels; here that is an error. Warnings that leave every pixel intact pass. */
static void on_message(j_common_ptr codec, int level) {
    if (level >= 0) return;
    switch (codec->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
    case JWRN_ADOBE_XFORM:
    case JWRN_BOGUS_ICC: return;
    default: on_error(codec);
    }
}

/* A small progressive file may ask for thousands of passes over a large image. */
static void on_progress(j_common_ptr codec) {
    decompression *work = codec->client_data;
    if (codec->is_decompressor && ((j_decompress_ptr)codec)->input_scan_number > work->scan_limit) {
        stop(work, CIMAGES_LIMIT);
    }
}

static void begin(decompression *work, const uint8_t *bytes, size_t count, int scan_limit) {
    work->codec.client_data = work;
    jpeg_create_decompress(&work->codec);
    work->scan_limit = scan_limit;
    work->progress.progress_monitor = on_progress;
    work->codec.progress = &work->progress;
    jpeg_mem_src(&work->codec, (unsigned char *)bytes, count);
    jpeg_read_header(&work->codec, TRUE);
    if (work->codec.num_components == 2 || work->codec.num_components > 4) {
        snprintf(work->message->text, sizeof work->message->text, "%d colour components",
                 work->codec.num_components);
        stop(work, CIMAGES_UNSUPPORTED);
    }
}

/* Ties the error handling to `work`. libjpeg reads these fields from jpeg_create_decompress on. */
static void prepare(decompression *work, cimages_message *message) {
    memset(work, 0, sizeof *work);
    message->text[0] = 0;
    work->message = message;
    work->codec.err = jpeg_std_error(&work->errors);
    work->errors.error_exit = on_error;
    work->errors.emit_message = on_message;
}

cimages_status cimages_jpeg_size(const uint8_t *bytes, size_t count, cimages_size *size,
                                 cimages_message *message) {
    decompression work;
    prepare(&work, message);
    if (setjmp(work.escape) == 0) {
        begin(&work, bytes, count, 1);
        size->width = work.codec.image_width;
        size->height = work.codec.image_height;
    }
    jpeg_destroy_decompress(&work.codec);
    return work.status;
}

/* Adobe programs store CMYK inverted, and Pillow takes every four-component JPEG to be so. Then each colour
   is (255 - black) - colour * (255 - black) / 255. */
static void inverted_cmyk_to_rgb(const uint8_t *cmyk, uint8_t *rgb, size_t width) {
    for (size_t x = 0; x < width; x++, cmyk += 4, rgb += 3) {
        uint32_t light = cmyk[3];
        for (int channel = 0; channel < 3; channel++) {
            rgb[channel] = (uint8_t)(light - divided_by_255((255u - cmyk[channel]) * light));
        }
    }
}

static void decode_rows(decompression *work, cimages_size size, uint8_t *rgb) {
    j_decompress_ptr codec = &work->codec;
    int is_cmyk = codec->num_components == 4;
    codec->out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(codec);
    if (codec->output_width != size.width || codec->output_height != size.height) stop(work, CIMAGES_CORRUPT);

    size_t row_bytes = (size_t)size.width * 3;
    JSAMPARRAY cmyk = NULL;
    if (is_cmyk) {
        /* Freed with the codec. */
        cmyk = codec->mem->alloc_sarray((j_common_ptr)codec, JPOOL_IMAGE, size.width * 4, 1);
    }
    while (codec->output_scanline < codec->output_height) {
        uint8_t *row = rgb + codec->output_scanline * row_bytes;
        if (is_cmyk) {
            jpeg_read_scanlines(codec, cmyk, 1);
            inverted_cmyk_to_rgb(cmyk[0], row, size.width);
        } else {
            jpeg_read_scanlines(codec, &row, 1);
        }
    }
    jpeg_finish_decompress(codec);
}

cimages_status cimages_jpeg_decode(const uint8_t *bytes, size_t count, cimages_size size, int scan_limit,
                                   uint8_t *rgb, cimages_message *message) {
    decompression work;
    prepare(&work, message);
    if (setjmp(work.escape) == 0) {
        begin(&work, bytes, count, scan_limit);
        decode_rows(&work, size, rgb);
    }
    jpeg_destroy_decompress(&work.codec);
    return work.status;
}
