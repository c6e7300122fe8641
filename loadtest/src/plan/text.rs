//! What people write: short sentences in several languages, now and then a long message, an emoji
//! or a line break. A client keeps to one language.

use rand::{RngExt as _, rngs::Xoshiro256PlusPlus, seq::IndexedRandom as _};

use super::{ClientIndex, mixed};

struct Language {
    greetings: &'static [&'static str],
    sentences: &'static [&'static str],
}

pub(super) fn compose(client: ClientIndex, draws: &mut Xoshiro256PlusPlus) -> String {
    let sentences = match draws.random_range(0..100) {
        0..55 => 1,
        55..80 => 2,
        80..96 => draws.random_range(3..=5),
        _ => draws.random_range(8..=24),
    };
    let language = language_of(client);
    let mut text = String::with_capacity(48 * sentences);
    if draws.random_ratio(1, 4) {
        text.extend(language.greetings.choose(draws).copied());
    }
    for _ in 0..sentences {
        if !text.is_empty() {
            text.push(if draws.random_ratio(1, 12) { '\n' } else { ' ' });
        }
        text.extend(language.sentences.choose(draws).copied());
    }
    if draws.random_ratio(1, 5) {
        text.push(' ');
        text.extend(EMOJI.choose(draws).copied());
    }
    text
}

fn language_of(client: ClientIndex) -> &'static Language {
    let place = mixed(u64::from(client.0), 0) % LANGUAGES.len() as u64;
    usize::try_from(place).ok().and_then(|place| LANGUAGES.get(place)).unwrap_or(&ENGLISH)
}

const EMOJI: &[&str] = &["🙂", "👍", "🙏", "😅", "❤️", "🎉", "😡", "👨‍👩‍👧", "🇰🇿", "👋🏽", "🤷‍♀️", "✅"];

const LANGUAGES: &[Language] =
    &[ENGLISH, RUSSIAN, SPANISH, GERMAN, TURKISH, ARABIC, HINDI, CHINESE, JAPANESE];

const ENGLISH: Language = Language {
    greetings: &["Hi!", "Hello,", "Good morning!", "Hey there,"],
    sentences: &[
        "Where is my order?",
        "It said \"delivered\", but nothing is here.",
        "Can I pay by card?",
        "Thanks, that worked.",
        "Is anybody there?",
        "I'd like to change the address, please.",
        "ok",
        "The size is wrong, can I send it back?",
        "How long does delivery take to the islands?",
        "I tried the link https://example.com/track?id=42&lang=en and it shows an empty page.",
        "Yes, tomorrow after 5 pm would be fine.",
        "Please call me back.",
    ],
};

const RUSSIAN: Language = Language {
    greetings: &["Здравствуйте!", "Добрый день,", "Привет!", "Доброе утро."],
    sentences: &[
        "Где мой заказ?",
        "Подскажите, пожалуйста, когда будет доставка.",
        "Спасибо, всё получилось.",
        "Можно оплатить картой?",
        "Я уже третий раз пишу, ответьте хоть кто-нибудь.",
        "да",
        "Хочу вернуть товар, не подошёл размер.",
        "Курьер не приехал, хотя обещали с 10 до 14.",
        "Адрес прежний: «Синяя вывеска», вход со двора.",
        "А есть в чёрном цвете?",
    ],
};

const SPANISH: Language = Language {
    greetings: &["¡Hola!", "Buenos días,", "Buenas,"],
    sentences: &[
        "¿Dónde está mi pedido?",
        "Quisiera cambiar la dirección de entrega.",
        "Gracias, ya funciona.",
        "¿Puedo pagar con tarjeta?",
        "El paquete llegó dañado, adjunto una foto.",
        "Mañana por la tarde me viene bien.",
        "¿Hay alguien ahí?",
    ],
};

const GERMAN: Language = Language {
    greetings: &["Guten Tag,", "Hallo!", "Moin,"],
    sentences: &[
        "Wo bleibt meine Bestellung?",
        "Die Größe passt leider nicht.",
        "Kann ich auf Rechnung zahlen?",
        "Danke, hat geklappt.",
        "Bitte um Rückruf.",
        "Das Päckchen liegt beim Nachbarn, alles gut.",
        "Ich möchte die Lieferadresse ändern.",
    ],
};

const TURKISH: Language = Language {
    greetings: &["Merhaba,", "İyi günler,", "Selam!"],
    sentences: &[
        "Siparişim nerede?",
        "Kargo hâlâ gelmedi.",
        "Teşekkürler, sorun çözüldü.",
        "Adresi değiştirmek istiyorum.",
        "Kapıda ödeme var mı?",
        "Ürün kırık geldi, iade etmek istiyorum.",
    ],
};

const ARABIC: Language = Language {
    greetings: &["مرحبا،", "السلام عليكم،"],
    sentences: &[
        "أين طلبي؟",
        "متى يصل الطرد؟",
        "شكرا، تم حل المشكلة.",
        "أريد تغيير العنوان من فضلك.",
        "هل يمكنني الدفع بالبطاقة؟",
    ],
};

const HINDI: Language = Language {
    greetings: &["नमस्ते,", "नमस्कार!"],
    sentences: &[
        "मेरा ऑर्डर कहाँ है?",
        "डिलीवरी कब होगी?",
        "धन्यवाद, अब ठीक है।",
        "मुझे पता बदलना है।",
        "क्या मैं कार्ड से भुगतान कर सकता हूँ?",
    ],
};

const CHINESE: Language = Language {
    greetings: &["你好！", "您好，"],
    sentences: &[
        "我的订单在哪里？",
        "什么时候可以送到？",
        "谢谢，已经收到了。",
        "我想修改收货地址。",
        "可以退货吗？尺码不合适。",
        "在吗",
    ],
};

const JAPANESE: Language = Language {
    greetings: &["こんにちは。", "お世話になっております。"],
    sentences: &[
        "注文した商品がまだ届きません。",
        "配送先を変更できますか？",
        "ありがとうございます、解決しました。",
        "返品したいです。",
        "カードで支払えますか？",
    ],
};
