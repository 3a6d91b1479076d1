/* boundary.c - a mark between the code of a test and the library's code; see inject.c. Programs are
 * linked in the order of their sources, so that code behind this function is the library's. */
void oom_boundary(void);

void oom_boundary(void)
{
}
