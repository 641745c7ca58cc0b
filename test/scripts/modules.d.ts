/** The launchers are plain JavaScript, without types. */
declare module "*.mjs";
