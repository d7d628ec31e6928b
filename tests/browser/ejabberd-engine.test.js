// Strophe.js as in ejabberd.test.js, with mod_megaphone's own engine.

process.env.MEGAPHONE_ENGINE = 'megaphone';
await import('./ejabberd.test.js');
