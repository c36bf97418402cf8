/**
 * The address used where neither policy nor a person has set one. It stands alone in
 * this file because stamping replaces the whole file.
 */
export const DEFAULT_GATEWAY = "http://127.0.0.1:9090/do";
