#include "CImages.h"
#include "blend.h"

#include <stdio.h>
#include <stdlib.h>

#include <webp/decode.h>

static cimages_status failure(VP8StatusCode code, cimages_message *message) {
    switch (code) {
    case VP8_STATUS_OK: return CIMAGES_OK;
    case VP8_STATUS_OUT_OF_MEMORY: return CIMAGES_MEMORY;
    case VP8_STATUS_NOT_ENOUGH_DATA: return CIMAGES_TRUNCATED;
    case VP8_STATUS_UNSUPPORTED_FEATURE: return CIMAGES_UNSUPPORTED;
    default:
        snprintf(message->text, sizeof message->text, "the WebP bit stream is damaged");
        return CIMAGES_CORRUPT;
    }
}

static cimages_status features(const uint8_t *bytes, size_t count, WebPBitstreamFeatures *found,
                               cimages_message *message) {
    message->text[0] = 0;
    cimages_status status = failure(WebPGetFeatures(bytes, count, found), message);
    if (status != CIMAGES_OK) return status;
    if (found->has_animation) {
        snprintf(message->text, sizeof message->text, "an animated WebP");
        return CIMAGES_UNSUPPORTED;
    }
    return CIMAGES_OK;
}

cimages_status cimages_webp_size(const uint8_t *bytes, size_t count, cimages_size *size,
                                 cimages_message *message) {
    WebPBitstreamFeatures found;
    cimages_status status = features(bytes, count, &found, message);
    if (status != CIMAGES_OK) return status;
    size->width = (uint32_t)found.width;
    size->height = (uint32_t)found.height;
    return CIMAGES_OK;
}

static cimages_status decode_as(WEBP_CSP_MODE layout, int channels, const uint8_t *bytes, size_t count,
                                cimages_size size, uint8_t *pixels, cimages_message *message) {
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config)) return CIMAGES_UNSUPPORTED;
    config.output.colorspace = layout;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = pixels;
    config.output.u.RGBA.stride = (int)size.width * channels;
    config.output.u.RGBA.size = (size_t)size.width * size.height * (size_t)channels;
    VP8StatusCode code = WebPDecode(bytes, count, &config);
    WebPFreeDecBuffer(&config.output);
    return failure(code, message);
}

cimages_status cimages_webp_decode(const uint8_t *bytes, size_t count, cimages_size size, int over_white,
                                   uint8_t *rgb, cimages_message *message) {
    WebPBitstreamFeatures found;
    cimages_status status = features(bytes, count, &found, message);
    if (status != CIMAGES_OK) return status;
    if ((uint32_t)found.width != size.width || (uint32_t)found.height != size.height) return CIMAGES_CORRUPT;
    if (!over_white || !found.has_alpha) return decode_as(MODE_RGB, 3, bytes, count, size, rgb, message);

    size_t pixels = (size_t)size.width * size.height;
    uint8_t *rgba = malloc(pixels * 4);
    if (!rgba) return CIMAGES_MEMORY;
    status = decode_as(MODE_RGBA, 4, bytes, count, size, rgba, message);
    if (status == CIMAGES_OK) {
        for (size_t i = 0; i < pixels; i++) {
            uint8_t alpha = rgba[4 * i + 3];
            for (int channel = 0; channel < 3; channel++) {
                rgb[3 * i + channel] = over_white_channel(rgba[4 * i + channel], alpha);
            }
        }
    }
    free(rgba);
    return status;
}
