/* Calls of the row that made a decoder. */
#include "blob/decoder.h"

#include "blob/codecs.h"

int sfs_decoder_enter(struct sfs_decoder *decoder, const struct sfs_seek_table *table,
                      const struct sfs_point *point, struct sfs_decoder_io *io,
                      struct sfs_decoder_window *ret_window, struct sfs_error *err)
{
    *ret_window = (struct sfs_decoder_window){ 0 };
    if (decoder->codec->enter)
        return decoder->codec->enter(decoder, table, point, io, ret_window, err);
    decoder->codec->start(decoder);
    return 0;
}

void sfs_decoder_close(struct sfs_decoder **decoder)
{
    if (*decoder)
        (*decoder)->codec->close(*decoder);
    *decoder = NULL;
}
