/* Functions that nobody can call right. Included by every .c file of fs/ through base headers. */
#ifndef STAGEFS_BANNED_H
#define STAGEFS_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC poison strcpy strcat sprintf vsprintf strtok atoi atol atoll gets

#endif
